package analytics

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/correlate"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// liveMatrix is a live matrix with where in time it stands.
type liveMatrix struct {
	*correlate.Live
	fittedAt time.Time
	step     time.Duration
	end      time.Time // instant of the newest cell taken
	cells    int       // of the window it was fitted to
	ticks    int       // cells taken since
	names    []string  // all names of the frame it was fitted to, sorted
	order    []int     // of clustering, without series of which nothing can be said
	left     []correlate.LeftOut
	missing  float64
}

// A live matrix is fitted anew once a quarter of its window has passed, and once a tenth
// has if there are other series now, but never more often than every few cells.
const (
	refitShare    = 4
	newNamesShare = 10
	refitLeast    = 8
)

// updateMatrix takes the new cells of f into the live matrix, or fits a new one to f, and
// publishes the report.
func (s *analyses) updateMatrix(ctx context.Context, f *window.Frame, about map[string]SeriesInfo, now time.Time) error {
	fresh, ok := s.live.follows(f)
	if ok {
		s.live.take(f, fresh)
	} else if err := s.fit(ctx, f, now); err != nil {
		return err
	}
	s.matrixNow.Store(s.live.report(about, now, s.opts.level))
	return nil
}

// follows returns how many cells of f are new, and whether they are all it takes.
func (l *liveMatrix) follows(f *window.Frame) (fresh int, ok bool) {
	if l.Live == nil || f.Grid.Step != l.step {
		return 0, false
	}
	at, on := f.Grid.Index(l.end)
	if !on || !f.Grid.Time(at).Equal(l.end) {
		return 0, false
	}
	fresh = f.Grid.N - 1 - at
	passed := l.ticks + fresh
	if passed > max(l.cells/refitShare, refitLeast) {
		return fresh, false
	}
	if passed > max(l.cells/newNamesShare, refitLeast) {
		names := f.Names()
		slices.Sort(names)
		if !slices.Equal(names, l.names) {
			return fresh, false
		}
	}
	return fresh, true
}

// take feeds the newest fresh cells of f.
func (l *liveMatrix) take(f *window.Frame, fresh int) {
	at := make(map[string]int, len(f.Signals))
	for i := range f.Signals {
		at[f.Signals[i].Name] = i
	}
	values := make([]float64, len(l.Names()))
	for k := f.Grid.N - fresh; k < f.Grid.N; k++ {
		for i, name := range l.Names() {
			values[i] = math.NaN()
			if j, ok := at[name]; ok {
				values[i] = f.Signals[j].Values[k]
			}
		}
		l.Tick(values)
	}
	l.end = f.Grid.End()
	l.ticks += fresh
}

// fit makes a live matrix of f.
func (s *analyses) fit(ctx context.Context, f *window.Frame, now time.Time) error {
	l := liveMatrix{fittedAt: now, step: f.Grid.Step, end: f.Grid.End(), cells: f.Grid.N, names: f.Names()}
	slices.Sort(l.names)
	// One worker: the other processors have traffic to serve.
	a, err := correlate.Prepare(ctx, f, correlate.Options{MaxSeries: s.opts.maxSeries, Level: s.opts.level, Workers: 1})
	if err != nil {
		return fmt.Errorf("fitting: %w", err)
	}
	if l.Live, err = correlate.NewLive(a, f); err != nil {
		return fmt.Errorf("fitting: %w", err)
	}
	l.left = a.LeftOut()
	silent := make(map[string]bool, len(l.left))
	for _, out := range l.left {
		silent[out.Name] = true
	}
	names := l.Names()
	for _, i := range l.Order() {
		if !silent[names[i]] {
			l.order = append(l.order, i)
		}
	}
	for i := range f.Signals {
		if !silent[f.Signals[i].Name] {
			l.missing += window.MissingPct(f.Signals[i].Values) / float64(len(l.order))
		}
	}
	s.live = l
	return nil
}

// report tells the matrix as it is now.
func (l *liveMatrix) report(about map[string]SeriesInfo, now time.Time, level float64) *MatrixReport {
	r := &MatrixReport{
		At: now, Window: l.Span(), Level: level, Method: "prewhitened correlation of normal scores at lag 0",
		Series: make([]SeriesInfo, len(l.order)), R: make([]Coefficients, len(l.order)), Pairs: []PairReport{},
		MissingPct: l.missing, leftOut: reportLeftOut(l.left), FittedAt: l.fittedAt, Caveats: []string{},
	}
	m := l.Matrix()
	cells := make(Coefficients, len(l.order)*len(l.order))
	for a, i := range l.order {
		r.Series[a] = about[m.Names[i]]
		r.Series[a].Name = m.Names[i] // a series that has just gone has no info
		r.R[a] = cells[a*len(l.order) : (a+1)*len(l.order)]
		for b, j := range l.order {
			r.R[a][b] = float32(m.At(i, j))
		}
	}
	var pairs []correlate.Pair
	pairs, r.Significant, r.Tests = l.Significant(maxReportPairs)
	for _, p := range pairs {
		r.Pairs = append(r.Pairs, reportPair(p, about))
	}
	switch {
	case r.Tests == 0:
		r.Caveats = append(r.Caveats, fmt.Sprintf("not enough data: a series needs %d samples that vary", correlate.MinSamples))
	case r.Significant > len(r.Pairs):
		r.Caveats = append(r.Caveats, fmt.Sprintf("%d of %d significant pairs are listed", len(r.Pairs), r.Significant))
	}
	if len(l.left) > 0 {
		r.Caveats = append(r.Caveats, fmt.Sprintf("%d series were left out", len(l.left)))
	}
	return r
}
