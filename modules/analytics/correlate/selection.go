package correlate

import (
	"cmp"
	"math"
	"slices"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// overLimit is the reason given for series beyond Options.MaxSeries.
const overLimit = "more series than the limit; fewer gaps and then the name decide"

// selectSeries picks at most limit of a frame's signals and returns their
// positions in order, and who was left out. Pinned names come first; then series
// that vary, before those that stand still; among them those with fewer gaps
// come first, and the name settles the rest, so the choice does not change from
// run to run.
func selectSeries(f *window.Frame, limit int, pinned ...string) (chosen []int, left []LeftOut) {
	if len(f.Signals) <= limit {
		chosen = make([]int, len(f.Signals))
		for i := range chosen {
			chosen[i] = i
		}
		return chosen, nil
	}
	type rank struct {
		pinned, varies bool
		seen           int
	}
	ranks := make([]rank, len(f.Signals))
	order := make([]int, len(f.Signals))
	for i, s := range f.Signals {
		order[i] = i
		seen, varies := observe(s.Values)
		ranks[i] = rank{slices.Contains(pinned, s.Name), varies, seen}
	}
	before := func(a, b bool) int {
		switch {
		case a && !b:
			return -1
		case b && !a:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(
			before(ranks[a].pinned, ranks[b].pinned),
			before(ranks[a].varies, ranks[b].varies),
			cmp.Compare(ranks[b].seen, ranks[a].seen),
			cmp.Compare(f.Signals[a].Name, f.Signals[b].Name))
	})
	for _, i := range order[limit:] {
		left = append(left, LeftOut{f.Signals[i].Name, overLimit})
	}
	chosen = order[:limit]
	slices.Sort(chosen)
	return chosen, left
}

// observe counts the usable samples and reports whether any two differ.
func observe(values []float64) (seen int, varies bool) {
	first := 0.0
	for _, v := range values {
		if !(math.Abs(v) <= tooLarge) {
			continue
		}
		if seen == 0 {
			first = v
		}
		varies = varies || v != first
		seen++
	}
	return seen, varies
}
