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

// judgeTogether sets q and the verdict of what could be tested. all are the
// answers to questions asked at once.
func judgeTogether(all []*Evidence, level float64) {
	var tested []*Evidence
	var p []float64
	for _, e := range all {
		if e.Verdict != NotEnoughData {
			tested, p = append(tested, e), append(p, e.P)
		}
	}
	for k, q := range BenjaminiHochberg(p, len(p)) {
		tested[k].Q = q
		tested[k].judge(level)
	}
}
