package correlate

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/dsp/fourier"
)

const (
	// maxLines bounds the spectral lines looked for in one series.
	maxLines = 12
	// minCycles is the slowest line looked for, in cycles over the window. Below
	// two it is a bend rather than a season, and just as misleading.
	minCycles = .7
	// slowLine is how many cycles over the window make a line independent enough of
	// the trend to be tuned without it.
	slowLine = 12
	// lineLevel is the chance to see a line where there is none.
	lineLevel = .02
	// seasonShare is the largest part of the samples that may be spent on the
	// terms of seasons.
	seasonShare = .2
)

// deseasoner removes a quadratic trend and the seasons from series of one length.
// It is scratch space for one goroutine.
type deseasoner struct {
	n     int
	at    []float64 // instant of each cell in cells, timing errors included
	even  bool      // instants are exactly 0, 1, 2, …
	fft   *fourier.FFT
	size  int
	in    []float64
	coeff []complex128
	power []float64

	foldFFT *fourier.FFT // for folding, made when first needed
}

// newDeseasoner takes the timing error of each cell, or nil for none.
func newDeseasoner(n int, offset []float64) *deseasoner {
	d := &deseasoner{n: n, at: make([]float64, n), even: true}
	for i := range d.at {
		d.at[i] = float64(i)
		if offset != nil && offset[i] != 0 {
			d.at[i] += offset[i]
			d.even = false
		}
	}
	d.size = smoothSize(n)
	d.fft = fourier.NewFFT(d.size)
	d.in = make([]float64, d.size)
	d.coeff = make([]complex128, d.size/2+1)
	d.power = make([]float64, d.size/2+1)
	return d
}

// smoothSize is the least number ≥ n and ≥ 1 without a prime factor above 5.
func smoothSize(n int) int {
	for n = max(n, 1); ; n++ {
		m := n
		for _, p := range []int{2, 3, 5} {
			for m%p == 0 {
				m /= p
			}
		}
		if m == 1 {
			return n
		}
	}
}

// season is a quadratic trend and the seasons taken out of a series of n cells.
type season struct {
	n       int
	lines   []float64 // frequencies, in cycles a cell
	beta    []float64 // coefficients: 1, slope, bend, then sine and cosine of each line
	periods []float64 // the periods the lines belong to, in cells, strongest first
}

// at returns trend and seasons at instant t in cells. After the cells they were
// fitted to the trend goes straight on.
func (s *season) at(t float64) float64 {
	if len(s.beta) < trendTerms {
		return 0
	}
	u := trendScale(t, s.n)
	bend := 1.5*u*u - .5
	if u > 1 {
		bend = 3*u - 2
	}
	v := s.beta[0] + s.beta[1]*u + s.beta[2]*bend
	k := trendTerms
	for _, f := range s.lines {
		sin, cos := math.Sincos(2 * math.Pi * f * t)
		v += s.beta[k] * sin
		k++
		if !atNyquist(f) {
			v += s.beta[k] * cos
			k++
		}
	}
	return v
}

// trendTerms are the terms of the trend: 1, slope and bend.
const trendTerms = 3

// trendScale maps the cells of a window of n to [−1, 1].
func trendScale(t float64, n int) float64 { return 2*t/float64(max(n-1, 1)) - 1 }

// atNyquist reports whether a frequency has no cosine of its own on the grid.
func atNyquist(f float64) bool { return f > .5-1e-9 }

// remove returns x without its mean, its quadratic trend and its seasons, and
// what these were.
//
// Seasons are found as lines in the spectrum, strongest first, each subtracted
// before the next is looked for: power above what the noise of the neighbourhood
// gives, once an AR(1) filter has levelled it. A line may lie between two
// frequencies of the FFT. Lines that are multiples of one frequency are one season
// of any shape: then all multiples go. Frequencies are fitted jointly by least
// squares at the instants the samples were really taken, so gaps and jitter do no
// harm. O(n log n) a line.
func (d *deseasoner) remove(x []float64) ([]float64, season) {
	n := 0
	for _, v := range x {
		if v == v {
			n++
		}
	}
	residual, found := d.fit(x, nil)
	budget := int(seasonShare * float64(n) / 2)
	var lines []float64
	retuned := 0
	for len(lines) < min(maxLines, budget) {
		f, stands := d.strongestLine(residual)
		if !stands {
			break
		}
		if i := nearestLine(lines, f, 1.5/float64(d.n)); i >= 0 && retuned < 2*maxLines {
			// What is left beside a line is mostly that line's frequency being off.
			retuned++
			others := slices.Delete(slices.Clone(lines), i, i+1)
			g := d.retune(x, others, lines[i])
			if math.Abs(g-lines[i]) > 1e-4/float64(d.n) {
				lines[i] = g
				residual, found = d.fit(x, lines)
				continue
			}
		}
		if f*float64(d.n) <= slowLine {
			f = d.retune(x, lines, f)
		}
		lines = append(lines, f)
		residual, found = d.fit(x, lines)
	}
	if len(lines) == 0 {
		return residual, found
	}
	all, periods := d.completeHarmonics(residual, lines, budget)
	if len(all) > len(lines) {
		residual, found = d.fit(x, all)
	}
	found.periods = periods
	return residual, found
}

// retune moves f to the best frequency given the others. Where the power of what
// the others leave peaks says so for a fast line; a slow one is entangled with the
// trend, and there it takes the fit of all terms together.
func (d *deseasoner) retune(x, others []float64, f float64) float64 {
	if f*float64(d.n) > slowLine {
		without, _ := d.fit(x, others)
		return d.tune(without, f)
	}
	all := append(slices.Clone(others), f)
	return d.climb(f, func(f float64) float64 {
		all[len(all)-1] = f
		residual, _ := d.fit(x, all)
		return -sumSquares(residual)
	})
}

// fit subtracts mean, trend and the given frequencies by least squares. The
// residual is NaN in gaps.
func (d *deseasoner) fit(x []float64, lines []float64) ([]float64, season) {
	one, slope, bend := make([]float64, d.n), make([]float64, d.n), make([]float64, d.n)
	for i, t := range d.at {
		u := trendScale(t, d.n)
		one[i], slope[i], bend[i] = 1, u, 1.5*u*u-.5
	}
	cols := append(make([][]float64, 0, trendTerms+2*len(lines)), one, slope, bend)
	for _, f := range lines {
		sins, coss := make([]float64, d.n), make([]float64, d.n)
		d.eachPhase(f, func(i int, sin, cos float64) { sins[i], coss[i] = sin, cos })
		cols = append(cols, sins)
		if !atNyquist(f) {
			cols = append(cols, coss)
		}
	}
	residual, beta := leastSquares(x, cols)
	return residual, season{n: d.n, lines: slices.Clone(lines), beta: beta}
}
