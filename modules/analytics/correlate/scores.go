package correlate

import (
	"math"
	"slices"
)

// midranks writes the ranks 1…n of the n values of x that are not NaN to dst,
// ties sharing their mean rank, NaN staying NaN, and returns n. O(n log n).
func midranks(dst, x []float64) int {
	order := make([]int, 0, len(x))
	for i, v := range x {
		if v == v {
			order = append(order, i)
		}
		dst[i] = math.NaN()
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case x[a] < x[b]:
			return -1
		case x[a] > x[b]:
			return 1
		}
		return 0
	})
	for i := 0; i < len(order); {
		j := i + 1
		for j < len(order) && x[order[j]] == x[order[i]] {
			j++
		}
		for _, k := range order[i:j] {
			dst[k] = float64(i+1+j) / 2
		}
		i = j
	}
	return len(order)
}

// transform replaces innovations by what is correlated: normal scores
// (van der Waerden), ranks or the values themselves. The result has mean 0 and
// variance 1 over its n samples and 0 in gaps; ok is false where it is constant.
func transform(u []float64, m Method) (z []float64, ok bool) {
	z = make([]float64, len(u))
	switch m {
	case Pearson:
		copy(z, u)
	default:
		n := midranks(z, u)
		if m == NormalScores {
			for i, r := range z {
				if r == r {
					z[i] = math.Sqrt2 * math.Erfinv(2*r/float64(n+1)-1)
				}
			}
		}
	}
	return z, standardise(z)
}

// standardise brings the values of z that are not NaN to mean 0 and variance 1
// in place and NaN to 0, and reports whether there was any variance.
func standardise(z []float64) bool {
	var n, sum, sq float64
	for _, v := range z {
		if v == v {
			n, sum = n+1, sum+v
		}
	}
	mean := sum / n
	for _, v := range z {
		if d := v - mean; d == d {
			sq += d * d
		}
	}
	scale := math.Sqrt(n / sq)
	ok := n > 1 && sq > 0 && !math.IsInf(scale, 0)
	for i, v := range z {
		if v == v && ok {
			z[i] = (v - mean) * scale
		} else {
			z[i] = 0
		}
	}
	return ok
}
