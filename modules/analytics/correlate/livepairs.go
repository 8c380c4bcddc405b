package correlate

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// Span returns the window that the correlations are about now.
func (l *Live) Span() Span {
	g := l.a.grid
	return spanOf(window.Grid{Start: g.Time(int(l.cell) - l.n), Step: g.Step, N: l.n})
}

// Matrix returns the correlations as they are now. It keeps nothing of l's.
func (l *Live) Matrix() *Matrix {
	m := &Matrix{Names: l.names, r: make([]float32, l.m*l.m), a: l.a}
	l.each(func(i, j int, r float64, _ int) { m.set(i, j, float32(r)) })
	return m
}

// each calls fn with the correlation of every pair i ≤ j and its cells, as At does.
func (l *Live) each(fn func(i, j int, r float64, n int)) {
	mean, scale := make([]float64, l.m), make([]float64, l.m)
	for i := range l.m {
		if l.series[i] == nil {
			scale[i] = math.NaN()
			continue
		}
		m, v := l.moments(i)
		mean[i], scale[i] = m, 1/math.Sqrt(v)
		if !(v >= standsStill*(1+m*m)) {
			scale[i] = math.NaN()
		}
	}
	for i := range l.m {
		sums, shared := l.sum[i*l.m:(i+1)*l.m], l.shared[i*l.m:(i+1)*l.m]
		for j := i; j < l.m; j++ {
			n := l.n - l.gaps[i] - l.gaps[j] + int(shared[j])
			r := math.NaN()
			if n >= MinSamples {
				r = (float64(sums[j])/float64(n) - mean[i]*mean[j]) * scale[i] * scale[j]
				r = min(max(r, -1), 1)
			}
			fn(i, j, r, n)
		}
	}
}

// Significant returns the pairs whose correlation at lag 0 is significant now over all
// pairs, surest first, at most limit of them; how many there are, and of how many tested.
// R is that of the scores.
func (l *Live) Significant(limit int) (pairs []Pair, total, tests int) {
	level := l.a.opts.Level
	// A pair below this is above the level by itself, and adjusting only adds to p.
	bound := normalBound(level)
	r := &Result{a: l.a}
	var p []float64
	l.each(func(i, j int, v float64, n int) {
		if i == j || v != v {
			return
		}
		tests++
		if v*v*float64(n) < bound*bound {
			return
		}
		x, y := l.a.series[i], l.a.series[j]
		rec := record{x: int32(i), y: int32(j), peak: peak{r: v, n: n}}
		rec.nEff = float64(n) / inflation(x, y, n)
		rec.p = scoreTail(v*math.Sqrt(rec.nEff), rec.nEff, x, y)
		r.records, p = append(r.records, rec), append(p, rec.p)
	})
	for k, q := range BenjaminiHochberg(p, tests) {
		r.records[k].q = min(fdrMargin*q, 1)
	}
	r.records = slices.DeleteFunc(r.records, func(rec record) bool { return rec.q > level })
	r.sort()
	total = len(r.records)
	pairs = make([]Pair, 0, min(limit, total))
	for _, rec := range r.records[:min(limit, total)] {
		pairs = append(pairs, l.pair(rec))
	}
	return pairs, total, tests
}

// pair tells a record of the live window in full.
func (l *Live) pair(rec record) Pair {
	x, y := l.a.series[rec.x], l.a.series[rec.y]
	p := Pair{X: x.name, Y: y.name, R: rec.r, Rho: l.rho(int(rec.x), int(rec.y)), Evidence: Evidence{
		Method: fmt.Sprintf("%s at lag 0", l.a.method()), P: rec.p, Q: rec.q, N: rec.n, NEff: rec.nEff,
		Window: l.Span(), MissingPct: 100 * float64(max(l.gaps[rec.x], l.gaps[rec.y])) / float64(l.n),
		Caveats: append([]string{}, l.a.caveats...),
	}}
	p.judge(l.a.opts.Level)
	p.Caveats = append(p.Caveats, l.a.doubts(rec, p)...)
	return p
}

// rho is Spearman's correlation over the live window. Scores have the ranks of what
// they score.
func (l *Live) rho(i, j int) float64 {
	var s, t []float64
	for k := range l.n {
		row := k * l.m
		if !l.gap[row+i] && !l.gap[row+j] {
			s, t = append(s, float64(l.scores[row+i])), append(t, float64(l.scores[row+j]))
		}
	}
	midranks(s, slices.Clone(s))
	midranks(t, slices.Clone(t))
	if rho := stat.Correlation(s, t, nil); rho == rho {
		return rho
	}
	return 0
}
