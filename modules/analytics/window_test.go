package analytics

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// Windows are filled from what the store has when the engine starts.
func TestWindowsRefill(t *testing.T) {
	r := newRig(t)
	start := time.Now().Add(-5 * time.Minute).Truncate(time.Second)
	app := r.backing.AppenderV2(t.Context())
	for i := range 240 {
		at := start.Add(time.Duration(i) * time.Second).UnixMilli()
		if _, err := app.Append(0, labels.FromStrings("__name__", "load", "backend", "a"), 0, at, float64(i), nil, nil, storage.AOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	a := r.run(t, "")
	until(t, "it runs", func() bool { return a.StatusReport().State == phaseRunning && pipelineNamed(t, a, "mine").Runs > 0 })
	f, infos, err := a.FrameFor(t.Context(), start.Add(10*time.Second), time.Now(), 0, []string{`mine:load{backend="a"}`})
	if err != nil || len(infos) != 1 || infos[0].Unit != "requests" || infos[0].Labels["backend"] != "a" {
		t.Fatalf("%+v: %v", infos, err)
	}
	for i, v := range f.Signals[0].Values[:200] {
		age := f.Grid.Time(i).Sub(start).Seconds()
		if math.IsNaN(v) || math.Abs(v-age) > 1.5 {
			t.Fatalf("value at %v is %v, want about %v", f.Grid.Time(i), v, age)
		}
	}
	// The same out of the store, at another step.
	g, infos, err := a.FrameFor(t.Context(), start, start.Add(200*time.Second), 10*time.Second, []string{"mine:load"})
	if err != nil || len(infos) != 1 || g.Grid.N != 21 || g.Signals[0].Values[20] != 200 {
		t.Errorf("%+v, %+v: %v", g, infos, err)
	}
}

// A reload that leaves the signals as they are leaves the windows as well; one that
// changes them fills new ones.
func TestWindowsSurviveReload(t *testing.T) {
	r := newRig(t)
	a := r.run(t, "")
	until(t, "there are points", func() bool { return pipelineNamed(t, a, "mine").Runs > 0 })
	h := a.engine.history
	if err := caddy.Load([]byte(strings.Replace(string(rigConfig("")), `"analyze_interval": "1s"`, `"analyze_interval": "2s"`, 1)), true); err != nil {
		t.Fatal(err)
	}
	if b := runningApp(t); b == a || b.engine.history != h {
		t.Error("the windows are other ones")
	}
	if err := caddy.Load([]byte(strings.Replace(string(rigConfig("")), "sum(wave)", "max(wave)", 1)), true); err != nil {
		t.Fatal(err)
	}
	if b := runningApp(t); b.engine.history == h {
		t.Error("the windows mix two meanings of a signal")
	}
}

// Series beyond max_series are left out, those that came first stay, and it is told how
// many are left out.
func TestMaxSeries(t *testing.T) {
	r := newRig(t)
	a := r.run(t, `"max_series": 2`)
	until(t, "it has run", func() bool { return pipelineNamed(t, a, "mine").Runs > 1 })
	st := a.StatusReport()
	if st.Windows.Series != 2 || st.Windows.LeftOut != 1 || st.Dropped.SeriesLeftOut != 1 {
		t.Errorf("windows are %+v", st.Windows)
	}
	_, infos := a.engine.frame(time.Now().Add(-time.Minute), time.Now())
	for _, i := range infos {
		if i.Signal != "load" {
			t.Errorf("%s has a place", i.Name)
		}
	}
}

// Series of another interval come onto the grid of the collect interval.
func TestFrameOfTwoIntervals(t *testing.T) {
	r := newRig(t)
	a := r.run(t, `"pipelines": [{"name": "fast", "source": "rig", "interval": "1s", "signals": [{"name": "load", "expr": "load"}]},
		{"name": "slow", "source": "rig", "interval": "2s", "signals": [{"name": "wave", "expr": "sum(wave)"}]}]`)
	until(t, "both have run", func() bool {
		return pipelineNamed(t, a, "slow").Runs > 1 && pipelineNamed(t, a, "fast").Runs > 2
	})
	f, infos := a.engine.frame(time.Now().Add(-time.Minute), time.Now())
	if len(infos) != 3 || len(f.Signals) != 3 || f.Grid.Step != time.Second {
		t.Fatalf("%d series on a grid of %v", len(infos), f.Grid.Step)
	}
	for i, s := range f.Signals {
		if s.Name != infos[i].Name || len(s.Values) != f.Grid.N {
			t.Errorf("%s and %s, %d values on a grid of %d", s.Name, infos[i].Name, len(s.Values), f.Grid.N)
		}
	}
}
