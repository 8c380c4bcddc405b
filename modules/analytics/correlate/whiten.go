package correlate

import (
	"math"
	"slices"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// MinSamples is how many samples a series, and the overlap of a pair, must have
// before anything is said about it.
const MinSamples = 30

// Reasons why nothing can be said of a series.
const (
	unfitShort    = "not enough data"
	unfitConstant = "constant"
	unfitRegular  = "constant after trend and season"
	unfitRare     = "too few changes"
)

// whitened is one series brought to a form in which chance is easy to know:
// uncorrelated with its own past, of mean 0 and variance 1.
type whitened struct {
	name    string
	kind    window.Kind
	n       int // samples seen
	missing float64
	// unfit says why nothing can be said of this series; empty where something can.
	unfit string

	u    []float64 // standardised innovations, NaN in gaps
	z    []float32 // what is correlated, 0 in gaps
	mask window.Mask
	acf  []float64 // autocorrelation of z at lags 1, 2, …

	skew, kurtosis float64 // of z; kurtosis in excess of 3

	discrete bool // one value makes up much of the series: ranks mean little
	controls int  // terms of the control taken out
	steps    steps
}

// steps are the transformations that whitened a series, in their order.
type steps struct {
	raw    scaling
	clip   bounds
	season season
	rest   scaling
	calm   bounds
	model  autoregression
	local  float64 // the mean size of innovations at the end of the window
}

// fitted is how many parameters were fitted on the way: trend, season, control and
// autoregression.
func (w *whitened) fitted() int {
	return len(w.steps.season.beta) + w.controls + len(w.steps.model.phi)
}

// acfLags is how many lags of autocorrelation the effective sample size sums.
const acfLags = 40

// whiten takes a series through those steps of the package's method that concern
// it alone. O(n log n + n·p²) for an autoregression of order p.
func whiten(s window.Signal, d *deseasoner, m Method) *whitened {
	w := &whitened{name: s.Name, kind: s.Kind, missing: window.MissingPct(s.Values)}
	x := usable(s.Values)
	w.mask = window.MaskOf(x)
	if w.n = w.mask.Count(); w.n < MinSamples {
		w.unfit = unfitShort
		return w
	}
	w.discrete = modalShare(x) > discreteShare
	var ok bool
	if w.steps.raw, ok = scaleToUnit(x); !ok {
		w.unfit = unfitConstant
		return w
	}
	if w.discrete {
		w.steps.clip = winsoriseEvents(x)
	} else {
		w.steps.clip = winsorise(x)
	}
	if w.deseason(x, d); w.unfit != "" {
		return w
	}
	w.steps.local = levelScale(w.u)
	if w.discrete && m == NormalScores {
		m = Pearson
	}
	z, ok := transform(w.u, m)
	if !ok {
		w.unfit = unfitRegular
		return w
	}
	w.finish(z)
	return w
}

// deseason takes trend and seasons from x and then its autoregression, and
// leaves the innovations in w.u. A season found only in the innovations sends it
// back once.
func (w *whitened) deseason(x []float64, d *deseasoner) {
	rest, found := d.remove(x)
	w.steps.season = found
	if w.innovate(rest, 0); w.unfit != "" {
		return
	}
	budget := int(seasonShare * float64(w.n) / 2)
	for range leftoverPasses {
		more := d.leftover(w.u, w.steps.season, budget)
		if len(more) == 0 {
			break
		}
		if slices.Min(more)*float64(len(x)) < 2 && len(w.steps.season.periods) == 0 && w.longMemory(x, d, budget) {
			break
		}
		rest, w.steps.season = d.removeLeftover(x, more, w.steps.season)
		if w.innovate(rest, 0); w.unfit != "" {
			return
		}
	}
	if p := d.foldedPeriod(w.u); p > 0 {
		rest, w.steps.season = d.removeFolded(x, p, w.steps.season, w.n)
		w.innovate(rest, 0)
	}
}

// longMemory tries whether an autoregression of the largest order leaves nothing
// of what a shorter one does: a slow signal under noise has a memory that the
// choice of the order cuts short, and no season.
func (w *whitened) longMemory(x []float64, d *deseasoner, budget int) bool {
	if len(w.steps.model.phi) >= maxOrder(w.n) {
		return false
	}
	before := *w
	rest, _ := d.fit(x, w.steps.season.lines)
	w.innovate(rest, maxOrder(w.n))
	if w.unfit == "" && len(d.leftover(w.u, w.steps.season, budget)) == 0 {
		return true
	}
	*w = before
	return false
}

// innovate takes an autoregression of at least the given order out.
func (w *whitened) innovate(x []float64, order int) {
	w.steps.calm = unbounded
	if !w.discrete {
		w.steps.calm = winsorise(x)
	}
	var ok bool
	if w.steps.rest, ok = scaleToUnit(x); !ok {
		w.unfit = unfitRegular
		return
	}
	w.steps.model = fitAutoregression(x, order, maxOrder(w.n))
	w.u = w.steps.model.innovations(x)
	if participation(w.u) < minEvents {
		w.unfit = unfitRare
	}
}

// finish derives from the scores z what the tests need to know of them.
func (w *whitened) finish(z []float64) {
	w.z = padded(len(z))
	var m3, m4 float64
	for i, v := range z {
		w.z[i] = float32(v)
		m3 += v * v * v
		m4 += v * v * v * v
	}
	w.skew, w.kurtosis = m3/float64(w.n), m4/float64(w.n)-3
	w.acf = autocorrelation(z, w.mask, min(acfLags, len(z)/4))
}

// maxOrder is the largest autoregression tried: 10·log10 n as is usual, and no
// more than a tenth of the samples.
func maxOrder(n int) int { return min(int(10*math.Log10(float64(n))), n/10) }

// autocorrelation returns the autocorrelation of z, standardised with 0 in the
// gaps of mask, at lags 1 to lags.
func autocorrelation(z []float64, mask window.Mask, lags int) []float64 {
	out := make([]float64, lags)
	for k := 1; k <= lags; k++ {
		s := 0.0
		for t, v := range z[:len(z)-k] {
			s += v * z[t+k]
		}
		if n := mask.Overlap(mask, k); n > 0 {
			out[k-1] = s / float64(n)
		}
	}
	return out
}
