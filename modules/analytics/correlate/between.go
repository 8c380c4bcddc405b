package correlate

import (
	"context"
	"fmt"
	"slices"
)

// Between tests each of xs, as X, against each of ys, as Y: two groups of signals rather
// than all pairs. Names that were not looked at (see LeftOut) are passed over. If ctx ends
// first, its error is returned.
func (a *Analysis) Between(ctx context.Context, xs, ys []string) (*Result, error) {
	is, js := a.positions(xs), a.positions(ys)
	r := &Result{a: a}
	for _, i := range is {
		for _, j := range js {
			if i != j {
				r.records = append(r.records, record{x: int32(i), y: int32(j)})
			}
		}
	}
	err := a.parallel(ctx, len(r.records), func() func(int) {
		cc := newCrossCorrelator(a.grid.N, a.opts.MaxLag)
		return func(k int) { r.records[k] = a.test(cc, int(r.records[k].x), int(r.records[k].y)) }
	})
	if err != nil {
		return nil, err
	}
	r.adjust()
	return r, nil
}

func (a *Analysis) positions(names []string) []int {
	out := make([]int, 0, len(names))
	for _, name := range names {
		if i, ok := a.byName[name]; ok {
			out = append(out, i)
		}
	}
	return out
}

// Given returns the analysis of the series called names with the influence of control
// taken out of them, as [Options].Control does, without whitening them again.
func (a *Analysis) Given(ctx context.Context, control string, names ...string) (*Analysis, error) {
	at, ok := a.byName[control]
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: no series is called %q", ErrOptions, control)
	case a.opts.Control != "":
		return nil, fmt.Errorf("%w: %q is taken out already", ErrOptions, a.opts.Control)
	}
	out := &Analysis{opts: a.opts, grid: a.grid, byName: make(map[string]int), left: a.left, caveats: slices.Clone(a.caveats)}
	out.opts.Control, out.opts.Target = control, ""
	out.series = append(out.series, a.series[at])
	for _, i := range a.positions(names) {
		if i != at {
			w := *a.series[i]
			out.series = append(out.series, &w)
		}
	}
	for i, w := range out.series {
		out.byName[w.name] = i
	}
	return out, out.control(ctx)
}
