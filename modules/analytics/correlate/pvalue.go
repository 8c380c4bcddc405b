package correlate

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// gammaTail is P(X > x) for X of the gamma distribution with the given shape
// and scale 1.
func gammaTail(shape, x float64) float64 {
	if x <= 0 {
		return 1
	}
	return mathext.GammaIncRegComp(shape, x)
}

// normalBound is the z with P(|Z| > z) = p.
func normalBound(p float64) float64 {
	if p >= 1 {
		return 0
	}
	if p > 1e-12 {
		return math.Sqrt2 * math.Erfinv(1-p)
	}
	// Erfinv cannot see so far out: invert the leading terms of the tail.
	l := -math.Log(p)
	z := math.Sqrt(2 * l)
	for range 8 {
		z = math.Sqrt(max(2*(l-math.Log(z*math.Sqrt(math.Pi/2))), 1))
	}
	return z
}

// correlationTail is the two-sided p-value of a correlation r of df+2
// independent pairs: Student's t with df degrees of freedom.
func correlationTail(r, df float64) float64 {
	if df < 1 || r != r {
		return 1
	}
	if r = math.Abs(r); r >= 1 {
		return 0
	}
	return mathext.RegIncBeta(df/2, .5, (1-r)*(1+r))
}
