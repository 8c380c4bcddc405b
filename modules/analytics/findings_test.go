package analytics

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/correlate"
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
	between := 0
	for _, p := range e.NetworkNow().Pairs {
		if between < mostBetween && slices.ContainsFunc(f.Correlations, func(c correlate.Pair) bool { return c.X == p.X && c.Y == p.Y }) {
			between++
		}
	}
	if between == 0 {
		t.Error("no pair is of the network and the balancer")
	}
	for i, p := range f.Correlations {
		if seen[p.X+p.Y] || seen[p.Y+p.X] || i > 0 && i != between && p.P < f.Correlations[i-1].P {
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

// What is one thing measured twice, or as good as told, does not fill the digest.
func TestFindingsTellSomething(t *testing.T) {
	pair := func(x, y string, r float64) correlate.Pair { return correlate.Pair{X: x, Y: y, R: r} }
	var f findings
	k := newPairPicker(&f, map[string]SeriesInfo{
		`balancer:mean{backend="a"}`: {Unit: "seconds"}, `cross:wait{backend="a"}`: {Unit: "seconds"}, `balancer:p50{backend="a"}`: {Unit: "seconds"},
		`balancer:mean{backend="b"}`: {Unit: "seconds"}, `balancer:in_flight{backend="a"}`: {Unit: "requests"},
		`http:in_flight{server="s"}`: {Unit: "requests"}, `network:rtt{backend="a"}`: {Unit: "seconds"},
	})
	lagged := pair(`balancer:mean{backend="a"}`, `cross:wait{backend="a"}`, 0.99)
	lagged.LagSeconds = 3
	for _, c := range []struct {
		p    correlate.Pair
		same bool
	}{
		{pair("balancer:requests", "http:requests", 0.99), true},
		{pair("balancer:requests", "http:idle", -0.95), true},
		{pair(`balancer:mean{backend="a"}`, `cross:wait{backend="a"}`, 0.5), true},
		{pair(`balancer:mean{backend="a"}`, `balancer:mean{backend="b"}`, 0.9), false},
		{pair(`balancer:mean{backend="a"}`, `balancer:in_flight{backend="a"}`, 0.9), false},
		{pair(`balancer:in_flight{backend="a"}`, `http:in_flight{server="s"}`, 0.8), true},
		{pair(`balancer:mean{backend="a"}`, `network:rtt{backend="a"}`, 0.99), false},
		{lagged, false},
	} {
		if got := k.sameThing(c.p); got != c.same {
			t.Errorf("%s and %s, r %v, lag %v: the same thing %v, want %v", c.p.X, c.p.Y, c.p.R, c.p.LagSeconds, got, c.same)
		}
	}
	for range 2 { // as when a pair is in two reports
		k.take(pair("a:x", "b:y", 0.99))
		k.take(pair(`network:rtt{backend="a"}`, `balancer:mean{backend="a"}`, 0.9))
		k.take(pair(`balancer:p50{backend="a"}`, `network:rtt{backend="a"}`, 0.8))
		for i := range mostFindings {
			k.take(pair("a:x", fmt.Sprint("b:", i), 0.5))
		}
	}
	if f.SameThing != 1 || f.Alike != 1 || len(f.Correlations) != mostFindings {
		t.Errorf("%d are the same thing, %d alike, %d tell something, want 1, 1 and %d", f.SameThing, f.Alike, len(f.Correlations), mostFindings)
	}
}
