package analytics

import (
	"cmp"
	"context"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/correlate"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// find makes findings.
func find(ctx context.Context, e apiEngine, now time.Time) (findings, error) {
	r := findings{At: now.UTC(), Correlations: []correlate.Pair{}, Trends: []trend{}, Changes: []change{}, Notes: []string{}}
	from := now.Add(-defaultSpan)
	interval := max(time.Duration(e.StatusReport().Settings.CollectIntervalSeconds*float64(time.Second)), time.Millisecond)
	f, infos, err := e.FrameFor(ctx, from, now, interval*max(1, defaultSpan/interval/aimedPoints), nil)
	if err != nil {
		return r, err
	}
	f, left := firstSeries(f)
	if left > 0 {
		r.Notes = append(r.Notes, "there are more series than are looked at")
	}
	known := make(map[string]SeriesInfo, len(infos))
	for _, i := range infos {
		known[i.Name] = i
	}
	split := now.Add(-defaultFocus)
	changes, err := correlate.Compare(ctx, f, correlate.Range{From: from, To: split.Add(-1)}, correlate.Range{From: split, To: now}, 0)
	if err != nil {
		return r, err
	}
	for _, x := range changes {
		if x.Verdict == correlate.Significant && len(r.Changes) < mostFindings {
			r.Changes = append(r.Changes, change{x, known[x.Name].Unit, known[x.Name].Good})
		}
	}
	if l, ok := e.(liveReports); ok && r.fromReports(l, known, now) {
		return r, nil
	}
	if err := r.trends(ctx, f, known); err != nil {
		return r, err
	}
	return r, r.correlate(ctx, f, known, e)
}

// reportsServe is how old the engine's reports may be to serve as findings: some are made anew
// every few minutes only.
const reportsServe = 10 * time.Minute

// fromReports takes what the engine has found by itself. It is no use where that is old, or
// where nothing could be tested yet.
func (r *findings) fromReports(l liveReports, known map[string]SeriesInfo, now time.Time) bool {
	m, n, t := l.MatrixNow(), l.NetworkNow(), l.TrendsNow()
	if m == nil || n == nil || t == nil || m.Tests+n.Tests == 0 {
		return false
	}
	for _, at := range []time.Time{m.At, n.At, t.At} {
		if age := now.Sub(at); age < -reportsServe || age > reportsServe {
			return false
		}
	}
	r.Tests = m.Tests + n.Tests
	newPairPicker(r, known).reports(n.Pairs, m.Pairs)
	for _, x := range t.Trends {
		if x.Verdict == correlate.Significant {
			r.Trends = append(r.Trends, trend{x.Trend, x.Unit, known[x.Name].Good})
		}
	}
	r.surestTrends()
	return true
}

// trends finds those of a frame.
func (r *findings) trends(ctx context.Context, f *window.Frame, known map[string]SeriesInfo) error {
	found, err := correlate.Trends(ctx, f, 0)
	if err != nil {
		return err
	}
	for _, t := range found {
		if t.Verdict == correlate.Significant {
			r.Trends = append(r.Trends, trend{t, known[t.Name].Unit, known[t.Name].Good})
		}
	}
	r.surestTrends()
	return nil
}

func (r *findings) surestTrends() {
	slices.SortStableFunc(r.Trends, func(x, y trend) int {
		return cmp.Or(cmp.Compare(x.P, y.P), cmp.Compare(math.Abs(y.Tau), math.Abs(x.Tau)))
	})
	r.Trends = r.Trends[:min(len(r.Trends), mostFindings)]
}

func (r *findings) correlate(ctx context.Context, f *window.Frame, known map[string]SeriesInfo, e apiEngine) error {
	if len(f.Signals) < 2 {
		r.Notes = append(r.Notes, "nothing to correlate yet: "+stateNote(e))
		return nil
	}
	prepared, err := correlate.Prepare(ctx, f, correlate.Options{MaxSeries: mostPairSeries, Workers: max(runtime.GOMAXPROCS(0)/2, 1)})
	if err != nil {
		return err
	}
	result, err := prepared.Lagged(ctx)
	if err != nil {
		return err
	}
	r.Tests = result.Tests()
	pick := newPairPicker(r, known)
	for p := range result.Significant() {
		pick.take(p)
	}
	if r.Tests == 0 {
		r.Notes = append(r.Notes, "not enough data to correlate yet: "+stateNote(e))
	}
	return nil
}
