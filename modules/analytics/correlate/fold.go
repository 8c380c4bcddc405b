package correlate

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/dsp/fourier"
)

const (
	// maxFold bounds the periods, in cells, that folding looks for.
	maxFold = 400
	// foldLevel is how many standard deviations must separate a folded season from
	// chance, with some hundred periods tried.
	foldLevel = 5.5
	// foldClip bounds what one cell may say in folding.
	foldClip = 3
)

// foldedPeriod looks for a season that has little power at any one frequency,
// such as one spike a minute, in whitened values u (NaN in gaps). Cells of the same
// phase in different cycles are multiplied with each other: for period P the
// statistic is the sum of the autocovariances of u at P, 2P, 3P, … A single outlier
// counts for nothing in it. It returns the least of the periods that stand out
// about as well as the best, or 0. O(n log n).
func (d *deseasoner) foldedPeriod(u []float64) int {
	cov, n := d.autocovariances(u)
	longest := min(d.n/2, maxFold)
	score := make([]float64, longest+1)
	best := 0.0
	for p := 2; p <= longest; p++ {
		sum := 0.0
		for k := p; k < d.n; k += p {
			sum += cov[k]
		}
		// Over P phases of n/P cells there are n(n/P − 1)/2 products of variance 1.
		if pairs := n * (n/float64(p) - 1) / 2; pairs > 0 {
			score[p] = sum / math.Sqrt(pairs)
			best = max(best, score[p])
		}
	}
	if best < foldLevel {
		return 0
	}
	// Multiples of the period fold well too.
	return slices.IndexFunc(score, func(s float64) bool { return s >= max(foldLevel, .8*best) })
}

// autocovariances returns Σ u_t u_{t+k} for every k, of u clipped and scaled to
// variance 1, and the number of samples.
func (d *deseasoner) autocovariances(u []float64) (cov []float64, n float64) {
	size := smoothSize(2 * d.n)
	if d.foldFFT == nil {
		d.foldFFT = fourier.NewFFT(size)
	}
	in := make([]float64, size)
	sq := 0.0
	for i, v := range u {
		if v == v {
			v = min(max(v, -foldClip), foldClip)
			in[i] = v
			sq += v * v
			n++
		}
	}
	coeff := d.foldFFT.Coefficients(nil, in)
	for i, c := range coeff {
		coeff[i] = complex(real(c)*real(c)+imag(c)*imag(c), 0)
	}
	cov = d.foldFFT.Sequence(in, coeff)
	scale := n / sq / float64(size)
	for i := range cov {
		cov[i] *= scale
	}
	return cov[:d.n], n
}

// removeFolded returns x without its trend and every multiple of the frequency
// 1/period and what was taken out before, as far as the samples allow.
func (d *deseasoner) removeFolded(x []float64, period int, before season, samples int) ([]float64, season) {
	lines := slices.Clone(before.lines)
	budget := int(.4 * float64(samples) / 2)
	for h := 1; 2*h <= period && len(lines) < budget; h++ {
		if f := float64(h) / float64(period); nearestLine(lines, f, .5/float64(d.n)) < 0 {
			lines = append(lines, f)
		}
	}
	residual, found := d.fit(x, lines)
	found.periods = append(slices.Clone(before.periods), float64(period))
	return residual, found
}
