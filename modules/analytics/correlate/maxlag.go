package correlate

import "math"

// scoreTail is the two-sided chance of a standardised sum of products as large as
// z for n effective pairs of x's and y's scores.
//
// For continuous data it is Student's t. Scores with ties, such as those of a
// counter of rare errors, are sparse: a few coincidences make the sum, and these
// are Poisson rather than Gaussian. Then the tail is that of a gamma
// distribution with the skewness (or, where larger, the kurtosis) that pairing
// the two series at random gives: a Pearson type III approximation to the
// permutation distribution (Mielke 1984).
func scoreTail(z, n float64, x, y *whitened) float64 {
	z = math.Abs(z)
	p := correlationTail(z/math.Sqrt(n), n-2)
	skew := math.Abs(x.skew*y.skew) / math.Sqrt(n)
	if x.kurtosis > 0 && y.kurtosis > 0 {
		skew = max(skew, math.Sqrt(x.kurtosis*y.kurtosis/n/1.5))
	}
	if skew > .02 {
		shape := 4 / (skew * skew)
		p = max(p, gammaTail(shape, shape+z*math.Sqrt(shape))+1-gammaTail(shape, shape-z*math.Sqrt(shape)))
	}
	return p
}

// maxTail corrects the p-value p of the largest of the readings at tested lags
// for having looked at all of them: Šidák's 1 − (1−p)^m where they are
// independent. Readings through templates g1 and g2 are dependent in a known
// way; there the chance that none exceeds the bound is the product over all
// readings of the chance given its best correlated neighbour (Glaz and Johnson
// 1984). g1 and g2 are nil where there are none.
func maxTail(p float64, tested int, g1, g2 []float64) float64 {
	m := float64(tested)
	if p <= 0 || p >= 1 {
		return p
	}
	none := math.Log1p(-p)
	if g1 == nil {
		return -math.Expm1(m * none)
	}
	if p < 1e-9 {
		return 3 * m * p // chances that small need no more than adding up, and would round to 0
	}
	z := normalBound(p)
	// given is the log chance that a reading stays inside, its neighbour of
	// correlation rho being inside.
	given := func(rho float64) float64 {
		return math.Log(max(1-2*p+bothTail(z, p, rho), 0)) - none
	}
	step1, step2, cross := lagCorrelation(g1, g1, 1), lagCorrelation(g2, g2, 1), 0.0
	own1, own2 := 0.0, 0.0
	for j := range g1 {
		own1, own2 = max(own1, math.Abs(g1[j])), max(own2, math.Abs(g2[j]))
		// g2 runs backwards, so the two overlap as a convolution.
		c := 0.0
		for i := 0; i <= j; i++ {
			c += g1[i] * g2[j-i]
		}
		cross = max(cross, math.Abs(c))
	}
	total := none + (m-1)*given(step1)
	total += m * given(max(own1, own2))
	total += m * given(max(math.Abs(step2), cross))
	return -math.Expm1(min(total, 0))
}

func lagCorrelation(a, b []float64, k int) float64 {
	s := 0.0
	for i := range len(a) - k {
		s += a[i] * b[i+k]
	}
	return s
}

// quadrature holds Gauss–Legendre nodes and weights on [0, 1].
var quadrature = gaussLegendre(24)

// bothTail is P(|A| > z, |B| > z) for standard normals of correlation rho, where
// P(|A| > z) = p. The derivative of the bivariate normal integral with respect to
// asin rho is elementary (Plackett 1954).
func bothTail(z, p, rho float64) float64 {
	rho = min(math.Abs(rho), 1)
	theta := math.Asin(rho)
	s := 0.0
	for _, q := range quadrature {
		sin := math.Sin(theta * q[0])
		s += q[1] * (math.Exp(-z*z/(1+sin)) - math.Exp(-z*z/(1-sin+1e-300)))
	}
	// Two quadrants of like sign grow with rho, two of unlike sign shrink.
	return min(p, p*p+2*theta*s/(2*math.Pi))
}

// gaussLegendre returns n nodes and weights on [0, 1], by Newton's method on the
// Legendre polynomial.
func gaussLegendre(n int) [][2]float64 {
	out := make([][2]float64, n)
	for i := range out {
		x := math.Cos(math.Pi * (float64(i) + .75) / (float64(n) + .5))
		var d float64
		for range 100 {
			p0, p1 := 1.0, x
			for k := 2; k <= n; k++ {
				p0, p1 = p1, ((2*float64(k)-1)*x*p1-(float64(k)-1)*p0)/float64(k)
			}
			d = float64(n) * (x*p1 - p0) / (x*x - 1)
			if step := p1 / d; math.Abs(step) < 1e-15 {
				break
			} else {
				x -= step
			}
		}
		out[i] = [2]float64{(1 + x) / 2, 1 / ((1 - x*x) * d * d)}
	}
	return out
}
