package correlate

import (
	"math"

	"gonum.org/v1/gonum/blas/blas32"
)

// templateTaps is how many lags the effect of one innovation is followed over.
const templateTaps = 32

// farLags is how many lags outside the searched range, on each side, tell how
// large correlations at the wrong lag are.
const farLags = 40

// crossCorrelator tests pairs of series of one length for dependence at any lag
// up to maxLag either way. It is scratch space for one goroutine.
type crossCorrelator struct {
	n, maxLag int
	reach     int       // lags computed on each side
	z         []float64 // z[reach+k]: √n_k · correlation at lag k
	far       []int     // lags outside reach
	g1, g2    []float64
}

func newCrossCorrelator(n, maxLag int) *crossCorrelator {
	c := &crossCorrelator{n: n, maxLag: maxLag}
	c.reach = min(maxLag+templateTaps, max(maxLag, n/2))
	c.z = make([]float64, 2*c.reach+1)
	// Spread by the golden ratio, so that no period can hide between them.
	lo, hi := c.reach+1, n/2
	if span := hi - lo; span >= farLags {
		for i := range farLags {
			_, frac := math.Modf(float64(i) * 0.6180339887498949)
			k := lo + int((float64(i)+frac)*float64(span)/float64(farLags))
			c.far = append(c.far, k, -k)
		}
	}
	return c
}

// peak is the strongest correlation of a pair over the lags searched; n is 0
// where there was nothing to search.
type peak struct {
	r    float64 // of the scores
	nEff float64
	p    float64 // corrected for the maximum over lags
	lag  int
	n    int
	filter
}

// filter says which of the two series' whitening both were read through.
type filter uint8

const (
	ownFilter filter = iota // each its own
	byY                     // both y's: x is the cleaner one
	byX                     // both x's
)

// at returns √n·r at lag k: positive k pairs x_t with y_{t+k}.
func (c *crossCorrelator) at(x, y *whitened, k int) (z float64, n int) {
	m := c.n - max(k, -k)
	if m < MinSamples {
		return 0, 0
	}
	a, b := x.z, y.z
	if k >= 0 {
		a, b = a[:m], b[k:]
	} else {
		a, b = a[-k:], b[:m]
	}
	n = m
	if x.n < c.n || y.n < c.n {
		if n = x.mask.Overlap(y.mask, k); n < MinSamples {
			return 0, n
		}
	}
	s := blas32.Dot(blas32.Vector{N: m, Data: a, Inc: 1}, blas32.Vector{N: m, Data: b, Inc: 1})
	return float64(s) / math.Sqrt(float64(n)), n
}

// test finds the strongest correlation of x and y and how likely chance gives
// one as strong at some lag.
//
// Haugh (1976): the cross-correlations of two independent white series are
// independent over lags, with variance 1/n. If y is x, delayed, plus noise of
// another colour, then the correlation of the innovations is spread over the lags
// after the true one in proportion to the impulse response of y's whitening
// filter over x's: it is gathered again, at the true lag, by correlating with
// that response (which amounts to filtering both series with y's filter, as in
// generalised least squares). The same with x and y exchanged. The strongest of
// the three readings counts, and the correction for the maximum covers them all.
func (c *crossCorrelator) test(x, y *whitened) peak {
	reach := c.maxLag
	c.g1 = template(c.g1, y.steps.model.phi, x.steps.model.phi)
	c.g2 = template(c.g2, x.steps.model.phi, y.steps.model.phi)
	plain := c.g1[0] > .97 && c.g2[0] > .97
	if !plain {
		reach = c.reach
	}
	zz := c.z[c.reach-reach : c.reach+reach+1]
	tested := 0
	for k := -reach; k <= reach; k++ {
		v, n := c.at(x, y, k)
		zz[reach+k] = v
		if n >= MinSamples && k >= -c.maxLag && k <= c.maxLag {
			tested++
		}
	}
	if tested == 0 {
		return peak{p: 1}
	}
	best, z := peak{}, 0.0
	consider := func(k int, v float64, f filter) {
		if math.Abs(v) > math.Abs(z) {
			z, best.lag, best.filter = v, k, f
		}
	}
	for k := -c.maxLag; k <= c.maxLag; k++ {
		consider(k, zz[reach+k], ownFilter)
	}
	if !plain {
		for k := -c.maxLag; k <= c.maxLag; k++ {
			consider(k, gather(zz, c.g1, reach+k, 1), byY)
			consider(k, gather(zz, c.g2, reach+k, -1), byX)
		}
	}
	if _, best.n = c.at(x, y, best.lag); best.n < MinSamples {
		return peak{p: 1}
	}
	inflation := c.inflation(x, y, best.n)
	g1, g2 := c.g1, c.g2
	switch {
	case plain:
		g1, g2 = nil, nil
	case best.filter == byY:
		inflation = max(inflation, gatheredVariance(g1, x.acf, y.acf, best.n))
	case best.filter == byX:
		inflation = max(inflation, gatheredVariance(g2, x.acf, y.acf, best.n))
	}
	best.nEff = float64(best.n) / inflation
	best.r = z / math.Sqrt(float64(best.n))
	best.p = maxTail(scoreTail(z/math.Sqrt(inflation), best.nEff, x, y), tested, g1, g2)
	return best
}

// gather is Σ g_j z[at + dir·j].
func gather(z, g []float64, at, dir int) float64 {
	s := 0.0
	for _, v := range g {
		if at < 0 || at >= len(z) {
			break
		}
		s += v * z[at]
		at += dir
	}
	return s
}

// template writes the impulse response of the whitening filter num over the
// whitening filter den to dst, scaled to unit energy.
func template(dst, num, den []float64) []float64 {
	dst = dst[:0]
	energy := 0.0
	for t := range templateTaps {
		v := 0.0
		if t == 0 {
			v = 1
		} else if t <= len(num) {
			v = -num[t-1]
		}
		for j := 0; j < len(den) && j < t; j++ {
			v += den[j] * dst[t-1-j]
		}
		dst = append(dst, v)
		energy += v * v
	}
	scale := 1 / math.Sqrt(energy)
	for i := range dst {
		dst[i] *= scale
	}
	return dst
}

// inflation is by how much the variance of a correlation of n pairs exceeds
// 1/n, the largest of three answers: Bartlett's formula over the autocorrelations
// that whitening left; what was fitted to both, which n samples no longer tell;
// and what is really seen at lags far from those searched, where a season that
// stayed in both series shows.
func (c *crossCorrelator) inflation(x, y *whitened, n int) float64 {
	sum, lags := 0.0, min(len(x.acf), len(y.acf))
	for j := range lags {
		sum += (1 - float64(j+1)/float64(n)) * x.acf[j] * y.acf[j]
	}
	// Of so many products of chance correlations this much is expected.
	scatter := math.Sqrt(float64(lags)) / float64(n)
	fitted := min(x.fitted(), y.fitted())
	out := max(1+2*(sum-scatter), float64(n)/float64(max(n-fitted, 1)))
	ms, m := 0.0, 0.0
	for _, k := range c.far {
		if v, n := c.at(x, y, k); n >= MinSamples {
			ms += v * v
			m++
		}
	}
	if m >= farLags {
		out = max(out, ms/m-.5*math.Sqrt(2/m))
	}
	return out
}

// gatheredVariance is n times the variance of the correlations gathered with g,
// by Bartlett's formula: correlations d lags apart covary by
// Σ_h ρx(h) ρy(h+d) / n. What n samples scatter around none is taken off.
func gatheredVariance(g, rx, ry []float64, n int) float64 {
	lags := min(len(rx), len(ry))
	at := func(r []float64, h int) float64 {
		if h < 0 {
			h = -h
		}
		if h == 0 {
			return 1
		}
		if h > lags {
			return 0
		}
		return r[h-1]
	}
	out, scatter := 1.0, 0.0
	for d := range min(len(g), lags) {
		weight := lagCorrelation(g, g, d)
		cov := 0.0
		for h := -lags; h <= lags; h++ {
			cov += at(rx, h) * (at(ry, h+d) + at(ry, h-d)) / 2
		}
		if d == 0 {
			out = cov
			continue
		}
		out += 2 * weight * cov
		scatter += 4 * weight * weight * 2 / float64(n)
	}
	return out - math.Sqrt(scatter)
}
