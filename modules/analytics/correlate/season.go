package correlate

import (
	"math"
	"math/cmplx"
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

// strongestLine returns the frequency, in cycles a cell, of the strongest line
// in residual, and whether it stands out.
func (d *deseasoner) strongestLine(residual []float64) (float64, bool) {
	lo := int(math.Ceil(minCycles * float64(d.size) / float64(d.n)))
	if lo+8 > len(d.power)-1 {
		return 0, false
	}
	d.spectrum(residual)
	level := d.noiseLevel()
	best, at := 0.0, 0
	for i := lo; i < len(d.power); i++ {
		if r := d.power[i] / level[i]; r > best {
			best, at = r, i
		}
	}
	// Ordinates over their mean are exponential; the mean is known to about 15 %.
	threshold := -1.15 * math.Log(lineLevel/float64(len(d.power)-lo))
	if best < threshold {
		return 0, false
	}
	return d.tune(residual, float64(at)/float64(d.size)), true
}

// spectrum computes the periodogram of residual behind an AR(1) whitening filter.
func (d *deseasoner) spectrum(residual []float64) {
	for i := range d.in {
		d.in[i] = 0
		if i < d.n && residual[i] == residual[i] {
			d.in[i] = residual[i]
		}
	}
	d.fft.Coefficients(d.coeff, d.in)
	phi := lagOne(residual)
	for i, c := range d.coeff {
		w := 1 - cmplx.Rect(phi, -2*math.Pi*float64(i)/float64(d.size))
		d.power[i] = (real(c)*real(c) + imag(c)*imag(c)) * (real(w)*real(w) + imag(w)*imag(w))
	}
	d.power[0] = 0
}

// lagOne is the autocorrelation of x, zero-mean, at lag 1, in [0, 1]: one less half
// the mean squared step over the variance, which gaps do not bias.
func lagOne(x []float64) float64 {
	var sq, n, step, pairs float64
	for t, v := range x {
		if v != v {
			continue
		}
		sq, n = sq+v*v, n+1
		if t > 0 {
			if d := v - x[t-1]; d == d {
				step, pairs = step+d*d, pairs+1
			}
		}
	}
	if sq == 0 || pairs == 0 {
		return 0
	}
	return min(max(1-step/(2*pairs)/(sq/n), 0), 1)
}

// noiseLevel estimates the mean power around each frequency from medians over
// blocks, which lines do not move, interpolated in the logarithm.
func (d *deseasoner) noiseLevel() []float64 {
	const width = 20
	p := d.power[1:]
	blocks := max(1, len(p)/width)
	logs := make([]float64, blocks)
	buf := make([]float64, 0, 2*width)
	for b := range blocks {
		buf = append(buf[:0], p[b*len(p)/blocks:(b+1)*len(p)/blocks]...)
		slices.Sort(buf)
		logs[b] = math.Log(buf[len(buf)/2]/math.Ln2 + math.SmallestNonzeroFloat64)
	}
	level := make([]float64, len(d.power))
	for i := range level {
		at := min(max((float64(i)-.5)*float64(blocks)/float64(len(p))-.5, 0), float64(blocks-1))
		b := int(at)
		l := logs[b]
		if b+1 < blocks {
			l += (at - float64(b)) * (logs[b+1] - l)
		}
		level[i] = math.Exp(l)
	}
	return level
}

// tune moves f to the maximum of the power of residual within one FFT bin.
func (d *deseasoner) tune(residual []float64, f float64) float64 {
	return d.climb(f, func(f float64) float64 { return d.powerAt(residual, f) })
}

// climb maximises gain over the frequencies within one FFT bin of f by golden
// section.
func (d *deseasoner) climb(f float64, gain func(float64) float64) float64 {
	const golden = 0.6180339887498949
	a, b := max(f-1/float64(d.n), .3/float64(d.n)), min(f+1/float64(d.n), .5)
	x1, x2 := b-golden*(b-a), a+golden*(b-a)
	p1, p2 := gain(x1), gain(x2)
	for range 16 {
		if p1 > p2 {
			b, x2, p2 = x2, x1, p1
			x1 = b - golden*(b-a)
			p1 = gain(x1)
		} else {
			a, x1, p1 = x1, x2, p2
			x2 = a + golden*(b-a)
			p2 = gain(x2)
		}
	}
	return (a + b) / 2
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

// sumSquares is Σx² over what is not NaN.
func sumSquares(x []float64) float64 {
	s := 0.0
	for _, v := range x {
		if v == v {
			s += v * v
		}
	}
	return s
}

func (d *deseasoner) powerAt(residual []float64, f float64) float64 {
	var s, c float64
	d.eachPhase(f, func(i int, sin, cos float64) {
		if v := residual[i]; v == v {
			s += v * sin
			c += v * cos
		}
	})
	return s*s + c*c
}

// eachPhase calls fn with the sine and cosine of frequency f at each cell.
func (d *deseasoner) eachPhase(f float64, fn func(i int, sin, cos float64)) {
	if !d.even {
		for i, t := range d.at {
			sin, cos := math.Sincos(2 * math.Pi * f * t)
			fn(i, sin, cos)
		}
		return
	}
	ws, wc := math.Sincos(2 * math.Pi * f)
	s, c := 0.0, 1.0
	for i := range d.at {
		fn(i, s, c)
		s, c = s*wc+c*ws, c*wc-s*ws
	}
}

// nearestLine returns the index of a line within tol of f, or -1.
func nearestLine(lines []float64, f, tol float64) int {
	for i, l := range lines {
		if math.Abs(l-f) < tol {
			return i
		}
	}
	return -1
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

// completeHarmonics finds which lines are multiples of one frequency, adds
// the multiples that are missing as far as budget lines allow, and returns
// all lines and the periods of the seasons in cells, strongest first.
func (d *deseasoner) completeHarmonics(residual, lines []float64, budget int) (all, periods []float64) {
	d.spectrum(residual)
	level := d.noiseLevel()
	all = slices.Clone(lines)
	rest := slices.Clone(lines)
	for len(rest) > 0 {
		f0, members := d.fundamental(rest)
		periods = append(periods, 1/f0)
		kept := rest[:0]
		for _, l := range rest {
			if !slices.Contains(members, l) {
				kept = append(kept, l)
			}
		}
		rest = kept
		// A season with an edge has power beyond the Nyquist frequency too, which
		// folds back to where no multiple stands.
		for h, top := 2, 1/(2*f0); len(all) < budget; top += 12 {
			missing := d.missingHarmonics(f0, h, int(top), all)
			if !d.carryPower(missing, level) {
				break
			}
			all = append(all, missing[:min(len(missing), budget-len(all))]...)
			h = int(top) + 1
		}
	}
	return all, periods
}

// fundamental returns the frequency that most of lines are multiples of, the
// highest such, always accounting for the first line, and those lines. The first
// line may be a high multiple, as with one spike a minute; beyond the eighth,
// where a line fits soon by chance, two more lines than before must say so.
func (d *deseasoner) fundamental(lines []float64) (float64, []float64) {
	best, members := lines[0], lines[:1:1]
	for h := 1; h <= 20; h++ {
		f0 := lines[0] / float64(h)
		least, more := 2.0, 1
		if h > 8 {
			least, more = 10, 2
		}
		if f0*float64(d.n) < least {
			break
		}
		var in []float64
		var num, den float64
		for _, l := range lines {
			k := math.Round(l / f0)
			if k >= 1 && math.Abs(l-k*f0) < .35/float64(d.n)*max(1, k/float64(h)) {
				in = append(in, l)
				num, den = num+k*l, den+k*k
			}
		}
		if len(in) >= len(members)+more {
			best, members = num/den, in
		}
	}
	return best, members
}

// missingHarmonics returns the multiples lo to hi of f0, folded at the Nyquist
// frequency, that are not among lines.
func (d *deseasoner) missingHarmonics(f0 float64, lo, hi int, lines []float64) []float64 {
	var out []float64
	tol := .5 / float64(d.n)
	for h := lo; h <= hi; h++ {
		f := math.Abs(float64(h)*f0 - math.Round(float64(h)*f0))
		if f > tol && nearestLine(lines, f, tol) < 0 && nearestLine(out, f, tol) < 0 {
			out = append(out, f)
		}
	}
	return out
}

// carryPower reports whether lines together carry more power than noise: their
// sum over the noise level is gamma distributed.
func (d *deseasoner) carryPower(lines, level []float64) bool {
	sum := 0.0
	for _, f := range lines {
		i := min(int(math.Round(f*float64(d.size))), len(level)-1)
		sum += d.power[i] / level[i]
	}
	return len(lines) > 0 && gammaTail(float64(len(lines)), sum) < .05
}
