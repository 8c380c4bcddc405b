package analytics

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// reportingEngine is a fake engine with real analyses.
type reportingEngine struct {
	fakeEngine
	analyses *analyses
}

func (r *reportingEngine) MatrixNow() *MatrixReport  { return r.analyses.matrix() }
func (r *reportingEngine) NetworkNow() *LaggedReport { return r.analyses.lagged() }
func (r *reportingEngine) TrendsNow() *TrendsReport  { return r.analyses.trends() }

func TestAPILiveReports(t *testing.T) {
	e := &reportingEngine{analyses: newAnalyses(analysisOptions{})}
	withApps(t, map[string]any{"analytics": e})
	c := startAPICaddy(t, "", "analytics_api")
	for _, name := range []string{"matrix", "network", "trends"} {
		c.get("/api/analytics/live/"+name, 503, nil).mentions(t, "no report yet")
	}
	w := newWorld(3, 700)
	w.run(t, e.analyses, 0, 700)

	var m MatrixReport
	r := c.get("/api/analytics/live/matrix", 200, &m)
	if len(m.Series) != 6 || m.Significant != len(m.Pairs) || m.Significant < 3 || m.Pairs[0].NEff == 0 || m.Pairs[0].Text == "" || strings.Contains(r.body, `"r":[[`) {
		t.Errorf("%s", r.body)
	}
	if r := c.get("/api/analytics/live/matrix?matrix", 200, nil); !strings.Contains(r.body, `"r":[[`) {
		t.Errorf("%s", r.body)
	}
	c.get("/api/analytics/live/matrix?matrix=perhaps", 400, nil)
	var l LaggedReport
	c.getAdmin("/analytics/live/network", 200, &l)
	if len(l.Pairs) == 0 || l.Pairs[0].Given == nil || l.Pairs[0].LagSeconds != 10*worldLag || l.Pairs[0].MissingPct == 0 {
		t.Errorf("%+v", l)
	}
	var trends TrendsReport
	c.get("/api/analytics/live/trends", 200, &trends)
	if len(trends.Trends) != 7 || trends.Tests != 6 {
		t.Errorf("%+v", trends)
	}
	withApps(t, map[string]any{"analytics": &fakeEngine{}})
	c.get("/api/analytics/live/matrix", 503, nil).mentions(t, "keeps no reports")
}

// TestEngineFindsWhatTheStoreRemembers plants a cause and its effect in the store before the
// engine starts, which refills its windows from there.
func TestEngineFindsWhatTheStoreRemembers(t *testing.T) {
	r := newRig(t)
	rng := rand.New(rand.NewPCG(1, 2))
	app := r.backing.AppenderV2(t.Context())
	const seconds = 300
	start := time.Now().Truncate(time.Second).Add(-seconds * time.Second)
	for i := range seconds {
		v := rng.NormFloat64()
		for name, x := range map[string]float64{"planted_a": v, "planted_b": .3*rng.NormFloat64() - v} {
			at := start.Add(time.Duration(i) * time.Second).UnixMilli()
			if _, err := app.Append(0, labels.FromStrings("__name__", name), 0, at, x, nil, nil, storage.AOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	a := r.run(t, fmt.Sprintf(`"pipelines": [{"name": "mine", "source": "rig", "interval": "1s", "signals": [%s, %s]}]`,
		`{"name": "a", "expr": "planted_a", "unit": "seconds", "good": "down"}`, `{"name": "b", "expr": "planted_b"}`))
	var m *MatrixReport
	until(t, "the matrix has a pair", func() bool {
		m = a.MatrixNow()
		return m != nil && len(m.Pairs) > 0
	})
	p := m.Pairs[0]
	if p.R > -.8 || p.LagSeconds != 0 || !strings.HasPrefix(p.X, "mine:a") || p.XUnit != "seconds" || p.N < 100 {
		t.Errorf("%+v", p)
	}
	until(t, "there are trends", func() bool { return a.TrendsNow() != nil && len(a.TrendsNow().Trends) == 2 })
	until(t, "there is a report on the network", func() bool { return a.NetworkNow() != nil })
	if n := a.NetworkNow(); n.Tests != 0 || len(n.Caveats) == 0 {
		t.Errorf("%+v", n)
	}
}
