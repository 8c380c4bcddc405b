package analytics

import (
	"context"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// Findings are the engine's own while these are fresh, and searched for when they are not.
func TestFindingsFromReports(t *testing.T) {
	now := time.Now()
	w := newWorld(3, 700)
	w.start = now.Add(-700 * w.step).Truncate(w.step)
	e := &reportingEngine{analyses: newAnalyses(analysisOptions{})}
	e.report = healthyReport()
	e.frame = func(time.Time, time.Time, time.Duration) (*window.Frame, []SeriesInfo) {
		return w.frame(690, 700), w.infos // too few cells to find anything in
	}
	ask := func() findings {
		t.Helper()
		f, err := find(context.Background(), e, now)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if f := ask(); f.Tests != 0 || len(f.Notes) == 0 {
		t.Errorf("before the first report: %+v", f)
	}
	w.run(t, e.analyses, 0, 700)
	if n := e.analyses.bytes.Load(); n < 5*6*699 {
		t.Errorf("the matrix takes %d bytes", n)
	}
	f := ask()
	if want := e.MatrixNow().Tests + e.NetworkNow().Tests; f.Tests != want || len(f.Correlations) == 0 || len(f.Correlations) > mostFindings {
		t.Errorf("%d tests, want %d: %+v", f.Tests, want, f)
	}
	seen := make(map[string]bool)
	var lagged bool
	for i, p := range f.Correlations {
		if seen[p.X+p.Y] || seen[p.Y+p.X] || i > 0 && p.P < f.Correlations[i-1].P {
			t.Errorf("pair %d is there already, or surer than the one before: %+v", i, p)
		}
		seen[p.X+p.Y] = true
		lagged = lagged || p.LagSeconds == 10*worldLag
	}
	if !lagged {
		t.Errorf("what follows the network is missing: %+v", f.Correlations)
	}
	now = now.Add(2 * reportsServe)
	if f := ask(); f.Tests != 0 {
		t.Errorf("old reports serve: %+v", f)
	}
}
