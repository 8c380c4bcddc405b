package analytics

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"go.uber.org/goleak"
)

// A hundred reloads, at any moment, leave one engine running and nothing of the others.
func TestReloads(t *testing.T) {
	known := goleak.IgnoreCurrent()
	r := newRig(t)
	n := 100
	if testing.Short() {
		n = 20
	}
	for i := range n {
		if err := caddy.Load([]byte(strings.Replace(string(rigConfig("")), `"analyze_interval": "1s"`, fmt.Sprintf(`"analyze_interval": "%ds"`, 1+i%5), 1)), true); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			before := r.collected.Load()
			until(t, "collecting goes on", func() bool { return r.collected.Load() > before })
		}
	}
	a := runningApp(t)
	until(t, "it runs", func() bool { return a.StatusReport().State == phaseRunning })
	if open := r.opened.Load() - r.released.Load(); open != 1 {
		t.Errorf("%d stores are open", open)
	}
	if engines.newest() != a.engine || len(engines.list) != 1 {
		t.Errorf("%d engines run", len(engines.list))
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if r.opened.Load() != r.released.Load() {
		t.Errorf("opened %d times, given back %d times", r.opened.Load(), r.released.Load())
	}
	left := 0
	histories.Range(func(any, any) bool { left++; return true })
	if left != 0 {
		t.Errorf("windows of %d configurations are left", left)
	}
	if err := goleak.Find(known); err != nil {
		t.Error(err)
	}
}

// What the analyses have found is there at once after a reload, as the windows are.
func TestReloadKeepsReports(t *testing.T) {
	r := newRig(t)
	a := r.run(t, "")
	until(t, "there are reports", func() bool { return a.MatrixNow() != nil && a.NetworkNow() != nil && a.TrendsNow() != nil })
	if err := caddy.Load([]byte(strings.Replace(string(rigConfig("")), `"analyze_interval": "1s"`, `"analyze_interval": "1h"`, 1)), true); err != nil {
		t.Fatal(err)
	}
	b := runningApp(t)
	if a == b || b.MatrixNow() == nil || b.NetworkNow() == nil || b.TrendsNow() == nil {
		t.Error("the reports are gone")
	}
	// Other pipelines have other windows.
	if err := caddy.Load(rigConfig(`"pipelines": [{"name": "other", "source": "rig", "signals": [{"name": "a", "expr": "load"}]}], "analyze_interval": "1h"`), true); err != nil {
		t.Fatal(err)
	}
	if c := runningApp(t); c.MatrixNow() != nil || c.TrendsNow() != nil {
		t.Error("the reports are about other series")
	}
}

// A reload that fails, in provisioning or in starting, leaves the engine at work.
func TestFailedReload(t *testing.T) {
	r := newRig(t)
	a := r.run(t, "")
	until(t, "it runs", func() bool { return a.StatusReport().State == phaseRunning })
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := strings.Replace(string(rigConfig("")), `"apps": {`, `"apps": {"http": {"servers": {"s": {"listen": ["`+taken.Addr().String()+`"]}}},`, 1)
	bad := strings.Replace(string(rigConfig("")), "sum(wave)", "sum(wave", 1)
	for range 4 { // apps start in random order
		for _, config := range []string{busy, bad} {
			if err := caddy.Load([]byte(config), true); err == nil {
				t.Fatal("the reload has not failed")
			}
			if b := runningApp(t); b != a {
				t.Fatal("another app runs")
			}
			before := pipelineNamed(t, a, "mine").Runs
			until(t, "it goes on", func() bool { return pipelineNamed(t, a, "mine").Runs > before })
		}
	}
	if engines.newest() != a.engine || r.opened.Load()-r.released.Load() != 1 {
		t.Errorf("%d stores are open", r.opened.Load()-r.released.Load())
	}
}

// Validating a configuration opens nothing and leaves nothing.
func TestValidateStartsNothing(t *testing.T) {
	r := newRig(t)
	known := goleak.IgnoreCurrent()
	for range 50 {
		cfg := new(caddy.Config)
		if err := json.Unmarshal(rigConfig(""), cfg); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Validate(cfg); err != nil {
			t.Fatal(err)
		}
	}
	if r.opened.Load() != 0 || r.collected.Load() != 0 {
		t.Errorf("the store was opened %d times, %d collections", r.opened.Load(), r.collected.Load())
	}
	if err := goleak.Find(known); err != nil {
		t.Error(err)
	}
}

// A stop in the middle of a collection loses nothing of it.
func TestStopDuringCollection(t *testing.T) {
	r := newRig(t)
	inside := make(chan struct{}, 1000)
	stopping := func() bool {
		e := engines.newest()
		if e == nil {
			return true
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.phase == phaseStopping
	}
	r.scrape = func() error {
		inside <- struct{}{}
		// Two collections in one millisecond would be of one sample.
		began := time.Now()
		for end := began.Add(30 * time.Second); !stopping() || time.Since(began) < 2*time.Millisecond; {
			if time.Now().After(end) {
				return errors.New("nobody stops it")
			}
			runtime.Gosched()
		}
		return nil
	}
	for range 3 {
		for len(inside) > 0 {
			<-inside
		}
		if err := caddy.Load(rigConfig(""), true); err != nil {
			t.Fatal(err)
		}
		<-inside // a collection is under way
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	// Each collection has four samples.
	if got, want := r.backing.Status().Samples, uint64(4*r.collected.Load()); got != want {
		t.Errorf("the store has %d samples, %d were collected", got, want)
	}
	if n := strings.Count(r.lines(), "last collection, flush, release"); n != 3 {
		t.Errorf("the ends were %q", r.lines())
	}
}

// What could not run is refused when the configuration is read, by name and with the way
// out.
func TestRefused(t *testing.T) {
	newRig(t)
	for options, want := range map[string]string{
		`"max_history": 1`: "max_history is 1: it must be between 60 and 1000000",
		`"max_series": -1`: "max_series is -1",
		`"pipelines": [{"name": "x", "source": "rig", "signals": [{"name": "a", "expr": "rate(b[5m]"}]}]`:                 "pipeline x: signal a: its PromQL cannot be read",
		`"pipelines": [{"name": "x", "source": "rig", "signals": [{"name": "a", "expr": "b[5m]"}]}]`:                      "signal a: its PromQL gives a matrix",
		`"pipelines": [{"name": "x", "source": "rig", "signals": [{"name": "a-b", "expr": "b"}]}]`:                        `signal "a-b": a name has`,
		`"pipelines": [{"name": "x", "source": "rig", "signals": [{"name": "a", "expr": "b", "good": "left"}]}]`:          `good is "left"`,
		`"pipelines": [{"name": "x", "source": "rig", "signals": [{"name": "a", "expr": "b"}, {"name":"a","expr":"c"}]}]`: "signal a is given already",
		`"pipelines": [{"name": "x", "source": "nowhere", "signals": [{"name": "a", "expr": "b"}]}]`:                      `there is no source "nowhere"; the sources are rig`,
		`"pipelines": [{"name": "x", "source": "rig", "interval": "1ms", "signals": [{"name": "a", "expr": "b"}]}]`:       "interval is 1ms",
		`"pipelines": [{"name": "x", "source": "rig"}]`:                                                                   "it has no signal",
		`"pipelines": [{"name": "x", "off": true}]`:                                                                       "off leaves out an automatic pipeline",
		`"query": {"max_points": 1}`: "query max_points is 1",
	} {
		cfg := new(caddy.Config)
		if err := json.Unmarshal(rigConfig(options), cfg); err != nil {
			t.Fatal(options, err)
		}
		if err := caddy.Validate(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want %q", options, err, want)
		}
	}
}

// The option of the Caddyfile has what JSON has, and says what it does not take.
func TestCaddyfileOption(t *testing.T) {
	for text, want := range map[string]string{
		"analytics": `{}`,
		"analytics {\n\tcollect_interval 5s\n\tanalyze_interval 2s\n\tmax_history 100\n\tmax_series 10\n\tregistry off\n}": `{"collect_interval":5000000000,"analyze_interval":2000000000,"max_history":100,"max_series":10,"no_registry":true}`,
		"analytics {\n\tpipeline http off\n}": `{"pipelines":[{"name":"http","off":true}]}`,
		"analytics {\n\tpipeline x {\n\t\tsource y\n\t\tinterval 1s\n\t\tsignal a `rate(b{c=\"d\"}[$__rate_interval])` bytes/second up\n\t\tsignal e {\n\t\t\texpr f\n\t\t\tunit seconds\n\t\t\tgood down\n\t\t\thelp \"what it is\"\n\t\t}\n\t}\n}": `{"pipelines":[{"name":"x","source":"y","interval":1000000000,"signals":[` +
			`{"name":"a","expr":"rate(b{c=\"d\"}[$__rate_interval])","unit":"bytes/second","good":"up"},{"name":"e","expr":"f","unit":"seconds","good":"down","help":"what it is"}]}]}`,
		"analytics {\n\tquery {\n\t\ttimeout 5s\n\t\tmax_samples 1000\n\t\tmax_points 20\n\t\tmax_range 1h\n\t\tmax_concurrent 2\n\t}\n}": `{"query":{"timeout":5000000000,"max_samples":1000,"max_points":20,"max_range":3600000000000,"max_concurrent":2}}`,
	} {
		got, err := adaptOption(text)
		if err != nil || got != want {
			t.Errorf("%s\nadapts to %s (%v)\nwant      %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"analytics on":                                               "wrong argument count",
		"analytics\nanalytics":                                       "analytics is given already",
		"analytics {\n\tnothing\n}":                                  "analytics takes collect_interval",
		"analytics {\n\tmax_series 0\n}":                             `max_series is "0": it must be a whole number above 0`,
		"analytics {\n\tmax_series 5 5\n}":                           "wrong argument count",
		"analytics {\n\tcollect_interval x\n}":                       `collect_interval is "x": it must be a duration`,
		"analytics {\n\tstore paper\n}":                              `"paper" is not a store`,
		"analytics {\n\tsource x\n}":                                 `"x" is not a source`,
		"analytics {\n\tregistry on\n}":                              "registry takes nothing but off",
		"analytics {\n\tpipeline x {\n\t\tsignal a\n\t}\n}":          "signal a: it has no PromQL",
		"analytics {\n\tpipeline x {\n\t\tsignal a `rate(b`\n\t}\n}": "signal a: its PromQL cannot be read",
		"analytics {\n\tpipeline x {\n\t\tsignal\n\t}\n}":            "wrong argument count",
		"analytics {\n\tpipeline x {\n\t\tcolour red\n\t}\n}":        "a pipeline takes source, interval and signal",
		"analytics {\n\tpipeline x on\n}":                            "it takes a block of options, or off",
		"analytics {\n\tquery {\n\t\tspeed 5\n\t}\n}":                "query takes timeout",
	} {
		if got, err := adaptOption(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nadapts to %s, error is %v, want %q", text, got, err, want)
		}
	}
}

// adaptOption returns the app's JSON of a global option.
func adaptOption(text string) (string, error) {
	out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("{\n"+text+"\n}\n"), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return "", err
	}
	var c struct {
		Apps struct {
			Analytics json.RawMessage `json:"analytics"`
		} `json:"apps"`
	}
	err = json.Unmarshal(out, &c)
	return string(c.Apps.Analytics), err
}
