package analytics

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// plantedFrame has a round-trip time that latency follows by three steps, a load that
// grows, one that has nothing to do with either, and one that stands still.
func plantedFrame(from, to time.Time, step time.Duration) (*window.Frame, []SeriesInfo) {
	rng := rand.New(rand.NewPCG(1, 2))
	grid, err := window.NewGrid(from, to, step)
	if err != nil {
		panic(err)
	}
	rtt, latency, load, other, still := make([]float64, grid.N), make([]float64, grid.N), make([]float64, grid.N), make([]float64, grid.N), make([]float64, grid.N)
	for i := range grid.N {
		rtt[i] = rng.NormFloat64()
		latency[i] = 0.3 * rng.NormFloat64()
		if i >= 3 {
			latency[i] += rtt[i-3]
		}
		load[i] = 0.1*float64(i) + rng.NormFloat64()
		other[i] = rng.NormFloat64()
		if i > grid.N-31 {
			other[i] += 20 // a jump in the last minutes
		}
		still[i] = 7
	}
	f := &window.Frame{Grid: grid}
	var infos []SeriesInfo
	for _, s := range []struct {
		pipeline, signal, labels string
		values                   []float64
	}{
		{"network", "rtt", `{backend="a"}`, rtt}, {"balancer", "latency", `{backend="a"}`, latency},
		{"balancer", "load", "", load}, {"balancer", "other", "", other}, {"balancer", "still", "", still},
	} {
		name := s.pipeline + ":" + s.signal + s.labels
		f.Signals = append(f.Signals, window.Signal{Name: name, Values: s.values})
		infos = append(infos, SeriesInfo{Name: name, Pipeline: s.pipeline, Signal: s.signal, Unit: "seconds", Good: Down})
	}
	return f, infos
}

func startPlanted(t *testing.T) (*apiCaddy, *fakeEngine) {
	t.Helper()
	e := &fakeEngine{frame: plantedFrame}
	withApps(t, map[string]any{"analytics": e})
	return startAPICaddy(t, "", "analytics_api"), e
}

func TestAPICorrelation(t *testing.T) {
	c, _ := startPlanted(t)
	const rtt, latency = `network:rtt{backend="a"}`, `balancer:latency{backend="a"}`
	var a correlationAnswer
	r := c.get("/api/analytics/correlation", 200, &a)
	if len(a.Pairs) != 1 || a.Summary.Series != 5 || a.Summary.Significant != 1 || a.Matrix != nil {
		t.Fatalf("%s", r.body)
	}
	p := a.Pairs[0]
	if p.X != rtt || p.Y != latency || p.LagSeconds != 30 || p.R < 0.8 || p.Q > 1e-6 || p.N == 0 || p.NEff == 0 || p.Method == "" || p.Window.StepSeconds != 10 || p.Caveats == nil {
		t.Errorf("pair: %+v", p)
	}
	if len(a.Series) != 2 || a.Series[0].Signal != "rtt" || a.Series[0].Unit != "seconds" {
		t.Errorf("series: %+v", a.Series)
	}
	// Asked the other way round it is found the other way round.
	c.get("/api/analytics/correlation?target="+url.QueryEscape(rtt), 200, &a)
	if len(a.Pairs) != 1 || a.Pairs[0].Y != rtt || a.Pairs[0].LagSeconds != -30 {
		t.Errorf("with a target: %+v", a.Pairs)
	}
	c.get("/api/analytics/correlation?max_lag=0&method=spearman&all&matrix&limit=4", 200, &a)
	if len(a.Pairs) != 4 || a.Summary.Significant != 0 || a.Matrix == nil || len(a.Matrix.Order) != len(a.Matrix.Names) || *a.Matrix.R[0][0] != 1 {
		t.Errorf("all pairs at no lag: %+v %+v", a.Pairs, a.Matrix)
	}
	c.get("/api/analytics/correlation?max_lag=20s", 200, &a)
	if a.Summary.MaxLag != 20 || len(a.Pairs) != 0 {
		t.Errorf("within 20 s: %+v", a)
	}
	c.get("/api/analytics/correlation?series=network&from=2026-05-01T00:00:00Z&to=2026-05-01T01:00:00Z", 200, &a)
	if len(a.Pairs) != 0 || a.Summary.Series != 1 || len(a.Summary.Notes) == 0 {
		t.Errorf("of one series: %+v", a)
	}
}

func TestAPITrends(t *testing.T) {
	c, _ := startPlanted(t)
	var a trendsAnswer
	r := c.get("/api/analytics/trends?series=balancer:load&series=network", 200, &a)
	if a.Series != 2 || a.Significant != 1 || len(a.Trends) != 1 || a.Trends[0].Name != "balancer:load" {
		t.Fatalf("%s", r.body)
	}
	if got := a.Trends[0]; math.Abs(got.SlopePerSecond-0.01) > 1e-3 || got.Low > 0.01 || got.High < 0.01 || got.Unit != "seconds" || got.Good != Down {
		t.Errorf("trend: %+v", got)
	}
	c.get("/api/analytics/trends?all&limit=4", 200, &a)
	if len(a.Trends) != 4 || a.Trends[0].Name != "balancer:load" {
		t.Errorf("all: %+v", a)
	}
}

func TestAPICompare(t *testing.T) {
	c, _ := startPlanted(t)
	var a compareAnswer
	r := c.get("/api/analytics/compare?to=2026-05-01T12:00:00Z&from=2026-05-01T11:55:00Z", 200, &a)
	if len(a.Changes) == 0 || a.Changes[0].Name != "balancer:other" || a.Changes[0].Effect < 0.99 || a.Changes[0].Unit != "seconds" || a.Series != 5 {
		t.Errorf("%s", r.body)
	}
	if got := a.Focus.From.Sub(a.Baseline.To); got <= 0 || a.Baseline.To.Sub(a.Baseline.From) != time.Hour {
		t.Errorf("baseline %v, focus %v", a.Baseline, a.Focus)
	}
	c.get("/api/analytics/compare?from=1000&to=2000&baseline_from=1500&baseline_to=3000", 400, nil).mentions(t, "overlap")
}

func TestAPIAnalysisLimits(t *testing.T) {
	c, e := startPlanted(t)
	e.limits = QueryLimits{MaxPoints: 1000, MaxRange: caddy.Duration(24 * time.Hour)}
	for _, tt := range []struct {
		path   string
		status int
		words  string
	}{
		{"correlation?from=2000&to=1000", 400, "before it begins"},
		{"correlation?from=0", 422, "max_range"},
		{"correlation?step=1s", 422, "1000 points"},
		{"correlation?step=1ns", 400, "step"},
		{"correlation?target=nothing", 404, `network:rtt{backend=\"a\"}`},
		{"correlation?control=nothing", 404, "nothing"},
		{"correlation?target=a&control=a", 400, "same"},
		{"correlation?series=nothing", 404, `"balancer:latency"`},
		{"correlation?method=kendall", 400, "spearman"},
		{"correlation?level=2", 400, "level"},
		{"correlation?level=NaN", 400, "level"},
		{"correlation?max_series=201", 400, "max_series"},
		{"correlation?max_lag=-5", 400, "max_lag"},
		{"correlation?limit=0", 400, "limit"},
		{"correlation?all=perhaps", 400, "true"},
		{"correlation?widow=1h", 400, "max_lag"},
		{"trends?level=0", 400, "level"},
		{"compare?baseline_from=5&baseline_to=4", 400, "before"},
		{"compare?baseline_from=5", 422, "max_range"},
		{"metrics?pipeline=nothing", 404, `"network"`},
		{"metrics?pipeline=network&signal=latency", 404, `"rtt"`},
		{"pipelines/nothing", 404, `"balancer", "network"`},
	} {
		c.get("/api/analytics/"+tt.path, tt.status, nil).mentions(t, tt.words)
	}
	var m metricsAnswer
	c.get("/api/analytics/metrics?pipeline=balancer", 200, &m)
	if len(m.Signals) != 2 {
		t.Errorf("signals: %+v", m)
	}
	var p PipelineStatus
	c.get("/api/analytics/pipelines/network", 200, &p)
	if p.Name != "network" {
		t.Errorf("pipeline: %+v", p)
	}
	// Without a step even a day is cut into as many points as are taken.
	e.limits.MaxPoints = 2001
	c.get(fmt.Sprintf("/api/analytics/trends?series=network&to=%d&from=%d", 2_000_000_000, 2_000_000_000-86400), 200, nil)
}

func TestAPISummary(t *testing.T) {
	var asked atomic.Int64
	e := &fakeEngine{report: healthyReport(), frame: func(from, to time.Time, step time.Duration) (*window.Frame, []SeriesInfo) {
		asked.Add(1)
		return plantedFrame(from, to, step)
	}}
	withApps(t, map[string]any{"analytics": e, "lbpro": fakeServer{"/lbpro/pools": fakePools}})
	c := startAPICaddy(t, "", "analytics_api")
	var a summaryAnswer
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { c.ask("GET", c.site+"/api/analytics/summary", "", nil) })
	}
	wg.Wait()
	r := c.get("/api/analytics/summary", 200, &a)
	if a.State != phaseRunning || a.Pipelines != 2 || a.Signals != 4 || a.Store == nil || a.Balancer.Requests != 120 {
		t.Errorf("%s", r.body)
	}
	f := a.Findings
	if len(f.Correlations) == 0 || f.Correlations[0].LagSeconds != 30 || len(f.Trends) == 0 || len(f.Changes) == 0 || f.Changes[0].Name != "balancer:other" || f.Tests == 0 {
		t.Errorf("findings: %s", r.body)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("they were found %d times within an interval", n)
	}
	// Another engine has findings of its own.
	withApps(t, map[string]any{"analytics": &fakeEngine{report: healthyReport(), frame: func(from, to time.Time, step time.Duration) (*window.Frame, []SeriesInfo) {
		return &window.Frame{Grid: window.Grid{Start: from, Step: step}}, nil
	}}})
	c.get("/api/analytics/summary", 200, &a)
	if f := a.Findings; len(f.Correlations) != 0 || len(f.Notes) == 0 || f.Changes == nil {
		t.Errorf("findings without data: %+v", f)
	}
}
