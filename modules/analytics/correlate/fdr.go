package correlate

import (
	"cmp"
	"slices"
)

// BenjaminiHochberg returns the q-value of each p-value: the least false
// discovery rate at which it would be among the discoveries (Benjamini and
// Hochberg 1995). tests is how many hypotheses were tested in all, at least
// len(p); those not given are taken to have larger p than any given. O(n log n).
func BenjaminiHochberg(p []float64, tests int) []float64 {
	tests = max(tests, len(p))
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(p[b], p[a]) })
	q := make([]float64, len(p))
	least := 1.0
	for i, k := range order {
		rank := len(p) - i
		least = min(least, p[k]*float64(tests)/float64(rank))
		q[k] = least
	}
	return q
}
