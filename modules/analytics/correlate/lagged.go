package correlate

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
)

// Pair is what is known of two series. A positive LagSeconds means that Y
// follows X; R and Rho are Pearson's and Spearman's correlation of the innovations
// at that lag.
type Pair struct {
	X          string  `json:"x"`
	Y          string  `json:"y"`
	LagSeconds float64 `json:"lag_seconds"`
	R          float64 `json:"r"`
	Rho        float64 `json:"rho"`
	Evidence
}

// record is a Pair as it is kept: 48 bytes.
type record struct {
	x, y int32
	peak
	q float64
}

// Result holds tested pairs, strongest evidence first.
type Result struct {
	a       *Analysis
	records []record
	tests   int
	found   int
}

// Lagged tests all pairs of series for dependence at any lag up to the maximum, or
// the target, as Y, against all others. About 20 µs a pair of 1,000 cells and ±60
// lags on one core. If ctx ends first, its error is returned.
func (a *Analysis) Lagged(ctx context.Context) (*Result, error) {
	n := len(a.series)
	r := &Result{a: a}
	if a.opts.Target == "" {
		r.records = make([]record, n*(n-1)/2)
	} else {
		r.records = make([]record, n-1)
	}
	target := -1
	if a.opts.Target != "" {
		target = a.byName[a.opts.Target]
	}
	err := a.parallel(ctx, n, func() func(int) {
		cc := newCrossCorrelator(a.grid.N, a.opts.MaxLag)
		return func(i int) {
			if target >= 0 {
				if i != target {
					at := i
					if i > target {
						at--
					}
					r.records[at] = a.test(cc, i, target)
				}
				return
			}
			at := i * (2*n - i - 1) / 2
			for j := i + 1; j < n && ctx.Err() == nil; j++ {
				r.records[at+j-i-1] = a.test(cc, i, j)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	r.adjust()
	return r, nil
}

// Pair tests one pair. Q is P: it is the only question.
func (a *Analysis) Pair(x, y string) (Pair, error) {
	i, okX := a.byName[x]
	j, okY := a.byName[y]
	switch {
	case !okX || !okY:
		return Pair{}, fmt.Errorf("%w: the window has no series %q and %q both", ErrOptions, x, y)
	case i == j:
		return Pair{}, fmt.Errorf("%w: %q and itself", ErrOptions, x)
	}
	rec := a.test(newCrossCorrelator(a.grid.N, a.opts.MaxLag), i, j)
	rec.q = rec.p
	return a.pair(rec), nil
}

func (a *Analysis) test(cc *crossCorrelator, i, j int) record {
	rec := record{x: int32(i), y: int32(j), q: 1}
	if a.series[i].unfit != "" || a.series[j].unfit != "" {
		rec.p = 1
		return rec
	}
	rec.peak = cc.test(a.series[i], a.series[j])
	return rec
}

// fdrMargin widens q-values. P-values rest on estimated autocorrelations and are
// right to a tenth or two; the margin keeps the rate of false discoveries under
// the level rather than around it.
const fdrMargin = 1.2

// adjust turns p-values into q-values and sorts.
func (r *Result) adjust() {
	tested := make([]int, 0, len(r.records))
	for i := range r.records {
		if r.records[i].n > 0 {
			tested = append(tested, i)
		}
	}
	p := make([]float64, len(tested))
	for k, i := range tested {
		p[k] = r.records[i].p
	}
	for k, q := range BenjaminiHochberg(p, len(tested)) {
		q = min(fdrMargin*q, 1)
		r.records[tested[k]].q = q
		if q <= r.a.opts.Level {
			r.found++
		}
	}
	r.tests = len(tested)
	r.sort()
}

// sort brings the records into their order: strongest evidence first.
func (r *Result) sort() {
	slices.SortStableFunc(r.records, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.q, b.q), cmp.Compare(a.p, b.p), cmp.Compare(math.Abs(b.r), math.Abs(a.r)),
			cmp.Compare(b.n, a.n))
	})
}

// Tests is how many pairs had enough data to be tested.
func (r *Result) Tests() int { return r.tests }

// Len is how many pairs there are in all.
func (r *Result) Len() int { return len(r.records) }

// Discoveries is how many pairs are significant.
func (r *Result) Discoveries() int { return r.found }

// LeftOut returns the series nothing was said about, with reasons.
func (r *Result) LeftOut() []LeftOut { return r.a.LeftOut() }

// Window is what the result is about.
func (r *Result) Window() Span { return spanOf(r.a.grid) }

// Significant yields the significant pairs, strongest evidence first.
func (r *Result) Significant() iter.Seq[Pair] { return r.first(r.found) }

// All yields every pair, strongest evidence first, those without enough data
// last.
func (r *Result) All() iter.Seq[Pair] { return r.first(len(r.records)) }

func (r *Result) first(n int) iter.Seq[Pair] {
	return func(yield func(Pair) bool) {
		for _, rec := range r.records[:n] {
			if !yield(r.a.pair(rec)) {
				return
			}
		}
	}
}
