package analytics

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// runAnalytics runs `caddy analytics` with the arguments and returns what it printed.
func runAnalytics(t *testing.T, args ...string) (string, error) {
	t.Helper()
	root := &cobra.Command{Use: "analytics", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(statusCommand(), checkCommand())
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

// check runs the check and returns its steps by name.
func (c *apiCaddy) check() (map[string]CheckStep, error) {
	c.t.Helper()
	out, err := runAnalytics(c.t.(*testing.T), "check", "--json", "--address", c.admin)
	var r CheckReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		c.t.Fatalf("%v: %s", err, out)
	}
	steps := make(map[string]CheckStep)
	for _, s := range r.Steps {
		steps[s.Name] = s
		if (s.Fix == "") == (s.State == checkFailed || s.State == checkWaiting) {
			c.t.Errorf("a step and its fix: %+v", s)
		}
	}
	if r.OK != (err == nil) {
		c.t.Errorf("ok is %v, error %v", r.OK, err)
	}
	return steps, err
}

// healthyReport is that of an engine with which nothing is wrong.
func healthyReport() *StatusReport {
	now := time.Now()
	return &StatusReport{
		State: phaseRunning, UptimeSeconds: 100, Since: now.Add(-100 * time.Second),
		Settings: SettingsStatus{CollectIntervalSeconds: 10, AnalyzeIntervalSeconds: 15},
		Steps:    []Step{{Name: stepStore, State: done}, {Name: stepHistory, State: skipped}},
		Sources:  []SourceStatus{{Name: "registry", State: "up", IntervalSeconds: 10, LastRun: now, LastSamples: 100, Samples: 1000, Targets: 1}},
		Pipelines: []PipelineStatus{
			{Name: "balancer", State: running, IntervalSeconds: 10, LastRun: now, Signals: 4, Series: 9},
			{Name: "cross", Joins: []string{"balancer", "network"}},
		},
		Store: &store.Status{Kind: "memory", OK: true, Series: 100, Newest: now, Oldest: now.Add(-time.Minute), Location: "here", Bytes: 2048},
	}
}

func TestCheckCommand(t *testing.T) {
	s := newTestStore(t)
	e := &fakeEngine{store: s, report: healthyReport(), frame: plantedFrame}
	s.putUp(t, time.Now())
	withApps(t, map[string]any{"analytics": e, "lbpro": fakeServer{"/lbpro/pools": fakePools}})
	c := startAPICaddy(t, "", "")
	steps, err := c.check()
	if err != nil {
		t.Fatalf("%v: %+v", err, steps)
	}
	for name, state := range map[string]string{
		"admin API": checkPassed, "engine": checkPassed, "module lbpro": checkPassed, "module flowmaster": checkSkipped,
		"start: store": checkPassed, "start: history": checkSkipped, "source registry": checkPassed, "pipeline balancer": checkPassed,
		"pipeline cross": checkSkipped, "store": checkPassed, "query": checkPassed, "correlation": checkPassed,
	} {
		if steps[name].State != state {
			t.Errorf("%s: %+v, want %s", name, steps[name], state)
		}
	}
	out, err := runAnalytics(t, "check", "--address", c.admin)
	if err != nil || !strings.Contains(out, "passed   source registry: 100 samples") || !strings.Contains(out, "0 failed") {
		t.Errorf("%v:\n%s", err, out)
	}

	// What is wrong fails the right steps, with a way out.
	for _, tt := range []struct {
		name   string
		change func(r *StatusReport)
		failed []string
		fix    string
	}{
		{"starting", func(r *StatusReport) { r.State, r.Steps[0].State = phaseStarting, running }, []string{"engine", "start: store"}, "--wait"},
		{"degraded", func(r *StatusReport) { r.State, r.Problems = phaseDegraded, []string{"store: disk is full"} }, []string{"engine"}, "disk is full"},
		{"source down", func(r *StatusReport) { r.Sources[0].State, r.Sources[0].LastError = "down", "refused" }, []string{"source registry"}, "target answers"},
		{"source asleep", func(r *StatusReport) { r.Sources[0].LastRun = time.Now().Add(-time.Hour) }, []string{"source registry"}, "overloaded"},
		{"source empty", func(r *StatusReport) { r.Sources[0].LastSamples = 0 }, []string{"source registry"}, "path"},
		{"source new", func(r *StatusReport) { r.Sources[0].LastRun = time.Time{} }, []string{"source registry"}, "check again"},
		{"no source", func(r *StatusReport) { r.Sources = nil }, []string{"sources"}, "add a source"},
		{"pipeline failing", func(r *StatusReport) { r.Pipelines[0].LastError = "parse error" }, []string{"pipeline balancer"}, "PromQL"},
		{"pipeline asleep", func(r *StatusReport) { r.Pipelines[0].LastRun = time.Now().Add(-time.Hour) }, []string{"pipeline balancer"}, "overloaded"},
		{"source too large", func(r *StatusReport) {
			r.Sources[0].State, r.Sources[0].LastError = "down", "a:1: body size limit exceeded"
		}, []string{"source registry"}, "max_size"},
		{"source locked", func(r *StatusReport) {
			r.Sources[0].State, r.Sources[0].LastError = "down", "a:1: server returned HTTP status 401 Unauthorized"
		}, []string{"source registry"}, "basic_auth"},
		{"source elsewhere", func(r *StatusReport) {
			r.Sources[0].State, r.Sources[0].LastError = "down", "a:1: server returned HTTP status 302 Found"
		}, []string{"source registry"}, "follow_redirects"},
		{"store closed", func(r *StatusReport) { r.Store = nil }, []string{"store"}, "check again"},
		{"store full", func(r *StatusReport) { r.Store.OK, r.Store.Problem = false, "no space left" }, []string{"store"}, "no space left"},
		{"store stale", func(r *StatusReport) { r.Store.Newest = time.Now().Add(-time.Hour) }, []string{"store"}, "room"},
		{"store takes nothing", func(r *StatusReport) {
			r.Sources[0].LastRun = time.Now().Add(5 * time.Minute) // which is later than what can be read
		}, []string{"query"}, "store"},
		{"store empty", func(r *StatusReport) { r.Store.Newest = time.Time{} }, []string{"store"}, "check again"},
	} {
		e.report = healthyReport()
		tt.change(e.report)
		steps, err := c.check()
		if err == nil {
			t.Errorf("%s: it passes", tt.name)
		}
		for name, s := range steps {
			if (s.State == checkFailed) != slices.Contains(tt.failed, name) {
				t.Errorf("%s: %+v", tt.name, s)
			}
			if s.State == checkFailed && name == tt.failed[0] && !strings.Contains(s.Fix, tt.fix) {
				t.Errorf("%s: fix %q does not mention %q", tt.name, s.Fix, tt.fix)
			}
		}
		if out, err := runAnalytics(t, "status", "--address", c.admin); err != nil || !strings.Contains(out, "analytics is "+e.report.State) {
			t.Errorf("%s: status: %v\n%s", tt.name, err, out)
		}
	}
}

// `analytics` by itself is a complete configuration, and nothing is wrong with it.
func TestCheckCommandOfAnalyticsAlone(t *testing.T) {
	s := newTestStore(t)
	e := &fakeEngine{store: s, report: healthyReport()}
	e.report.Pipelines, e.report.UptimeSeconds = nil, 10000
	s.putUp(t, time.Now())
	withApps(t, map[string]any{"analytics": e})
	c := startAPICaddy(t, "", "")
	steps, err := c.check()
	if err != nil {
		t.Errorf("%v: %+v", err, steps)
	}
	for _, name := range []string{"module lbpro", "pipelines", "correlation"} {
		if steps[name].State != checkSkipped {
			t.Errorf("%+v", steps[name])
		}
	}
	if !strings.Contains(steps["pipelines"].Detail, "`lbpro`") {
		t.Errorf("it does not say where pipelines come from: %+v", steps["pipelines"])
	}
}

// A store that cannot be opened is the one failure; what rests on it waits for it, however
// long that takes, and is not sent looking elsewhere.
func TestCheckCommandWithoutStore(t *testing.T) {
	const why = "store: directory of the store: permission denied; give the user that runs Caddy the right to write there"
	for _, uptime := range []float64{3, 10000} {
		e := &fakeEngine{report: healthyReport()}
		r := e.report
		r.State, r.Problems, r.UptimeSeconds, r.Store = phaseDegraded, []string{why}, uptime, nil
		r.Steps = []Step{
			{Name: stepPipelines, State: done}, {Name: stepStore, State: failed, Error: why},
			{Name: stepHistory, State: waiting}, {Name: stepSources, State: waiting}, {Name: stepAnalyses, State: waiting},
		}
		r.Sources[0].LastRun, r.Pipelines[0].LastRun = time.Time{}, time.Time{}
		withApps(t, map[string]any{"analytics": e})
		c := startAPICaddy(t, "", "")
		steps, err := c.check()
		if err == nil {
			t.Errorf("after %v s it passes: %+v", uptime, steps)
		}
		for name, s := range steps {
			want := checkSkipped
			switch name {
			case "engine", "start: store", "store":
				want = checkFailed
				if s.Fix != why {
					t.Errorf("%+v", s)
				}
			case "admin API", "start: pipelines":
				want = checkPassed
			}
			if s.State != want {
				t.Errorf("after %v s: %+v, want %s", uptime, s, want)
			}
		}
	}
}

// Without the engine, the module, or Caddy itself the check says so.
func TestCheckCommandWithoutTheRest(t *testing.T) {
	withApps(t, nil)
	c := startAPICaddy(t, "", "")
	steps, err := c.check()
	if err == nil || len(steps) != 2 || !strings.Contains(steps["engine"].Fix, "global options") {
		t.Errorf("without the engine: %v %+v", err, steps)
	}
	if _, err := runAnalytics(t, "status", "--address", c.admin); err == nil || !strings.Contains(err.Error(), "switched on") {
		t.Errorf("status: %v", err)
	}
	c.admin = c.site // something that has no such module
	steps, err = c.check()
	if err == nil || steps["admin API"].State != checkFailed {
		t.Errorf("another server: %v %+v", err, steps)
	}
	c.admin = apiAddr(t)
	steps, err = c.check()
	if err == nil || !strings.Contains(steps["admin API"].Fix, "--address") {
		t.Errorf("nobody: %v %+v", err, steps)
	}
	if _, err := runAnalytics(t, "check", "--wait", "soon"); err == nil || !strings.Contains(err.Error(), "soon") {
		t.Errorf("--wait soon: %v", err)
	}
}

func TestStatusCommand(t *testing.T) {
	report := healthyReport()
	report.Store.Problem = "the server refused samples"
	withApps(t, map[string]any{"analytics": &fakeEngine{report: report}})
	c := startAPICaddy(t, "", "")
	out, err := runAnalytics(t, "status", "--address", c.admin)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"analytics is running since", "registry", "balancer", "cross (balancer × network)", "store: memory, ok, 100 series, 2.0 KiB, back to 1m", "here", "the server refused samples"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not print %q:\n%s", want, out)
		}
	}
	out, err = runAnalytics(t, "status", "--json", "--address", c.admin)
	var r StatusReport
	if err != nil || json.Unmarshal([]byte(out), &r) != nil || r.Store.Series != 100 {
		t.Errorf("--json: %v\n%s", err, out)
	}
}

// flatFrame has series that never change.
func flatFrame(from, to time.Time, step time.Duration) (*window.Frame, []SeriesInfo) {
	f, infos := plantedFrame(from, to, step)
	for _, s := range f.Signals {
		for i := range s.Values {
			s.Values[i] = 7
		}
	}
	return f, infos
}

// What takes time waits, and is a failure only when that has passed.
func TestCheckCommandWaits(t *testing.T) {
	s := newTestStore(t)
	e := &fakeEngine{store: s, report: healthyReport(), frame: flatFrame}
	s.putUp(t, time.Now())
	withApps(t, map[string]any{"analytics": e, "lbpro": fakeServer{"/lbpro/pools": fakePools}})
	c := startAPICaddy(t, "", "")
	e.report.UptimeSeconds = 100
	steps, err := c.check()
	if got := steps["correlation"]; err != nil || got.State != checkWaiting || !strings.Contains(got.Detail, "6 of 30 samples; ready in about 4m20s") || !strings.Contains(got.Fix, "--wait 4m30s") {
		t.Errorf("%v: %+v", err, got)
	}
	if out, err := runAnalytics(t, "check", "--address", c.admin); err != nil || !strings.Contains(out, "waiting  correlation: not enough data yet") || !strings.Contains(out, "0 failed, 1 waiting") {
		t.Errorf("%v:\n%s", err, out)
	}
	e.report.UptimeSeconds = 1000
	steps, err = c.check()
	if got := steps["correlation"]; err == nil || got.State != checkFailed || !strings.Contains(got.Fix, "traffic") {
		t.Errorf("%v: %+v", err, got)
	}
	// Right after the start nothing has been collected.
	e.report = healthyReport()
	e.report.UptimeSeconds = 3
	e.report.Steps = append(e.report.Steps, Step{Name: stepAnalyses, State: running})
	e.report.Sources[0].LastRun, e.report.Pipelines[0].LastRun, e.report.Store.Newest = time.Time{}, time.Time{}, time.Time{}
	steps, err = c.check()
	for _, name := range []string{"start: analyses", "source registry", "pipeline balancer", "store", "correlation"} {
		if steps[name].State != checkWaiting {
			t.Errorf("%s: %+v", name, steps[name])
		}
	}
	if err != nil {
		t.Errorf("it waits: %v", err)
	}
	// And before that the store is read.
	e.report.State, e.report.Store = phaseStarting, nil
	steps, err = c.check()
	if err != nil || steps["engine"].State != checkWaiting || steps["store"].State != checkWaiting {
		t.Errorf("it starts: %v %+v", err, steps)
	}
}
