package correlate

import "slices"

// memoryOf is by how much autocorrelation multiplies the variance of the mean of
// x, in which NaN are gaps: the spectrum at frequency 0 of its autoregression over its
// variance, never below 1. long reports that the series hardly holds ten
// independent samples; the factor is then at least a third of their number.
// O(n·order).
func memoryOf(x []float64) (factor float64, long bool) {
	x = slices.Clone(x)
	winsorise(x) // wild samples would hide the memory of the others
	if _, ok := scaleToUnit(x); !ok {
		return 1, false
	}
	samples := float64(len(seen(x)))
	model := fitAutoregression(x, 0, min(maxOrder(len(x)), 5))
	sum := 1.0
	for _, f := range model.phi {
		sum -= f
	}
	// The estimated root is too small by about 4/n (Marriott and Pope 1954).
	bias := 4 / samples
	if sum <= 1.5*bias {
		return max(samples/3, 1), true
	}
	factor = model.sigma2 / ((sum - bias) * (sum - bias)) / model.autocovariance()[0]
	// Gaps make neighbours rarer.
	factor = max(1+(factor-1)*samples/float64(len(x)), 1)
	if factor > samples/10 {
		return max(factor, samples/3), true
	}
	return factor, false
}
