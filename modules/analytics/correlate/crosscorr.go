package correlate

import "math"

// templateTaps is how many lags the effect of one innovation is followed over.
const templateTaps = 32

// farLags is how many lags outside the searched range, on each side, tell how
// large correlations at the wrong lag are. They come in runs of four.
const farLags = 40

// crossCorrelator tests pairs of series of one length for dependence at any lag
// up to maxLag either way. It is scratch space for one goroutine.
type crossCorrelator struct {
	n, maxLag int
	reach     int       // lags computed on each side
	z         []float64 // z[reach+k]: √n_k · correlation at lag k
	far       []int     // first lags of the runs outside reach
	g1, g2    []float64
}

func newCrossCorrelator(n, maxLag int) *crossCorrelator {
	c := &crossCorrelator{n: n, maxLag: maxLag}
	c.reach = min(maxLag+templateTaps, max(maxLag, n/2))
	c.z = make([]float64, 2*c.reach+1)
	// Spread by the golden ratio, so that no period can hide between them.
	const runs = farLags / 4
	if span := n/2 - c.reach - 4; span >= farLags {
		for i := range runs {
			_, frac := math.Modf(float64(i) * 0.6180339887498949)
			c.far = append(c.far, c.reach+1+int((float64(i)+frac)*float64(span)/runs))
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

// overlap is how many cells both series have at lag k.
func (c *crossCorrelator) overlap(x, y *whitened, k int) int {
	if x.n == c.n && y.n == c.n {
		return c.n - max(k, -k)
	}
	return x.mask.Overlap(y.mask, k)
}

// four puts √n·r at lags k to k+3 into out, for k ≥ 0: x_t is paired with
// y_{t+k}. Where fewer than MinSamples pairs exist it is NaN.
func (c *crossCorrelator) four(out []float64, x, y *whitened, k int) {
	for j := range out[:4] {
		out[j] = math.NaN()
	}
	m := c.n - k
	if m < MinSamples {
		return
	}
	m = (m + lanes - 1) / lanes * lanes
	// What runs over the end of the series is zero on one side at least.
	a, b := x.z[:m:m], y.z[:cap(y.z)]
	var sum [4]float32
	dot4(&sum, a, b[k:], b[k+1:], b[k+2:], b[k+3:])
	for j, s := range sum {
		if n := c.overlap(x, y, k+j); n >= MinSamples {
			out[j] = float64(s) / math.Sqrt(float64(n))
		}
	}
}

// scan fills zz, of 2·reach+1, with √n·r at lags −reach to reach and returns at
// how many lags up to maxLag there are samples enough. Elsewhere it is 0.
func (c *crossCorrelator) scan(zz []float64, x, y *whitened, reach int) (tested int) {
	var run [4]float64
	for k := 0; k <= reach; k += 4 {
		c.four(run[:], x, y, k)
		for j := k; j <= min(k+3, reach); j++ {
			zz[reach+j] = run[j-k]
		}
		c.four(run[:], y, x, k)
		for j := k; j <= min(k+3, reach); j++ {
			zz[reach-j] = run[j-k]
		}
	}
	for i, v := range zz {
		if v != v {
			zz[i] = 0
		} else if k := i - reach; k >= -c.maxLag && k <= c.maxLag {
			tested++
		}
	}
	return tested
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
	tested := c.scan(zz, x, y, reach)
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
	if best.n = c.overlap(x, y, best.lag); best.n < MinSamples {
		return peak{p: 1}
	}
	best.r = z / math.Sqrt(float64(best.n))
	g1, g2 := c.g1, c.g2
	if plain {
		g1, g2 = nil, nil
	}
	widest := 0.0
	judge := func(inflation float64) {
		if inflation <= widest {
			return
		}
		widest = inflation
		best.nEff = float64(best.n) / inflation
		best.p = maxTail(scoreTail(z/math.Sqrt(inflation), best.nEff, x, y), tested, g1, g2)
	}
	judge(inflation(x, y, best.n))
	// Looking further can only make p larger.
	if best.p < plainlyNothing {
		switch best.filter {
		case byY:
			judge(gatheredVariance(g1, x.acf, y.acf, best.n))
		case byX:
			judge(gatheredVariance(g2, x.acf, y.acf, best.n))
		}
		judge(c.farInflation(x, y))
	}
	return best
}

// plainlyNothing is a p-value that needs no second look.
const plainlyNothing = .3

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
// 1/n: Bartlett's formula over the autocorrelations that whitening left, or what
// was fitted to both, which n samples no longer tell, whichever is more.
func inflation(x, y *whitened, n int) float64 {
	sum, lags := 0.0, min(len(x.acf), len(y.acf))
	for j := range lags {
		sum += (1 - float64(j+1)/float64(n)) * x.acf[j] * y.acf[j]
	}
	// Of so many products of chance correlations this much is expected.
	scatter := math.Sqrt(float64(lags)) / float64(n)
	fitted := min(x.fitted(), y.fitted())
	return max(1+2*(sum-scatter), float64(n)/float64(max(n-fitted, 1)))
}

// farInflation is the same as seen at lags far from those searched, where a
// season that stayed in both series shows; 0 where there are too few such lags.
func (c *crossCorrelator) farInflation(x, y *whitened) float64 {
	ms, m := 0.0, 0.0
	var run [4]float64
	for _, k := range c.far {
		for _, pair := range [2][2]*whitened{{x, y}, {y, x}} {
			c.four(run[:], pair[0], pair[1], k)
			for _, v := range run {
				if v == v {
					ms += v * v
					m++
				}
			}
		}
	}
	if m < farLags {
		return 0
	}
	return ms/m - .5*math.Sqrt(2/m)
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
