package analytics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
	"go.uber.org/goleak"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// rig is the store and the source of a test, which it can break.
type rig struct {
	mu        sync.Mutex
	open      func() error // before the store is opened
	instant   func(expr string) error
	scrape    func() error
	value     func(metric string, at time.Time) (float64, bool)
	backing   store.Store
	log       []string
	opened    atomic.Int64
	released  atomic.Int64
	collected atomic.Int64
	evaluated atomic.Int64
}

// theRig is that of the test that runs; modules of the configuration find it here.
var theRig atomic.Pointer[rig]

func init() {
	caddy.RegisterModule(rigStore{})
	caddy.RegisterModule(new(rigSource))
}

type rigStore struct{}

func (rigStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: storeSpace + ".rig", New: func() caddy.Module { return new(rigStore) }}
}

func (rigStore) OpenStore(StoreEnv) (store.Store, func() error, error) {
	r := theRig.Load()
	r.mu.Lock()
	open := r.open
	r.mu.Unlock()
	if open != nil {
		if err := open(); err != nil {
			return nil, nil, err
		}
	}
	r.opened.Add(1)
	return &watchedStore{r.backing, r}, func() error {
		r.note("release")
		r.released.Add(1)
		return nil
	}, nil
}

// watchedStore is the rig's store.
type watchedStore struct {
	store.Store
	r *rig
}

func (w *watchedStore) Instant(ctx context.Context, expr string, at time.Time) (promql.Vector, annotations.Annotations, error) {
	w.r.evaluated.Add(1)
	w.r.mu.Lock()
	f := w.r.instant
	w.r.mu.Unlock()
	if f != nil {
		if err := f(expr); err != nil {
			return nil, nil, err
		}
	}
	return w.Store.Instant(ctx, expr, at)
}

func (w *watchedStore) Flush(ctx context.Context) error {
	w.r.note("flush")
	return w.Store.Flush(ctx)
}

type rigSource struct {
	Called string `json:"called,omitempty"`
}

func (*rigSource) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: sourceSpace + ".rig", New: func() caddy.Module { return new(rigSource) }}
}

func (s *rigSource) Name() string {
	if s.Called != "" {
		return s.Called
	}
	return "rig"
}

// Run collects `load` and `wave` every 20 ms, whatever the interval: tests have no time.
func (s *rigSource) Run(ctx context.Context, to storage.AppendableV2, _ time.Duration, done func(Collection)) error {
	r := theRig.Load()
	to = &watched{to: to} // as every source does
	once := func() error {
		at := wallClock()
		c := Collection{Source: s.Name(), Target: "here", At: at}
		r.mu.Lock()
		scrape := r.scrape
		r.mu.Unlock()
		if scrape != nil {
			c.Err = scrape()
		}
		if c.Err == nil {
			c.Err = r.append(to, at, &c.Samples)
		}
		r.collected.Add(1)
		done(c)
		return nil
	}
	for {
		if err := once(); err != nil {
			return err
		}
		if !sleep(ctx, 20*time.Millisecond) {
			r.note("last collection")
			return once()
		}
	}
}

func (r *rig) append(to storage.AppendableV2, at time.Time, n *int) error {
	a := to.AppenderV2(context.Background())
	for _, metric := range []string{"load", "wave"} {
		for _, backend := range []string{"a", "b"} {
			v := float64(at.UnixMilli() % 1000)
			if r.value != nil {
				var ok bool
				if v, ok = r.value(metric, at); !ok {
					continue
				}
			}
			l := labels.FromStrings("__name__", metric, "backend", backend)
			if _, err := a.Append(0, l, 0, at.UnixMilli(), v, nil, nil, storage.AOptions{}); err != nil && !errors.Is(err, storage.ErrOutOfOrderSample) {
				return errors.Join(err, a.Rollback())
			}
			*n++
		}
	}
	return a.Commit()
}

func (r *rig) note(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, what)
}

func (r *rig) lines() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.log, ", ")
}

func (r *rig) breakInstant(f func(expr string) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.instant = f
}

const rigPipelines = `[{"name": "mine", "source": "rig", "interval": "1s", "signals": [
	{"name": "load", "expr": "load", "unit": "requests", "good": "up"}, {"name": "wave", "expr": "sum(wave)"}]}]`

// newRig makes the rig of a test.
func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{backing: store.NewMemory(store.MemoryOptions{})}
	theRig.Store(r)
	first, most := retryFirst, retryMost
	retryFirst, retryMost = 5*time.Millisecond, 50*time.Millisecond
	t.Cleanup(func() {
		retryFirst, retryMost = first, most
		if err := r.backing.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// rigConfig is a configuration on the rig, with more options of the app.
func rigConfig(options string) []byte {
	if options != "" {
		options = "," + options
	}
	if !strings.Contains(options, `"pipelines"`) {
		options += `, "pipelines": ` + rigPipelines
	}
	return fmt.Appendf(nil, `{"admin": {"disabled": true, "config": {"persist": false}}, "logging": {"logs": {"default": {"level": "FATAL"}}},
		"apps": {"analytics": {"collect_interval": "1s", "analyze_interval": "1s", "no_registry": true, "store": {"type": "rig"}, "sources": [{"type": "rig"}]%s}}}`, options)
}

// run starts Caddy with the app until the test ends.
func (r *rig) run(t testing.TB, options string) *App {
	t.Helper()
	if err := caddy.Load(rigConfig(options), true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return runningApp(t)
}

func runningApp(t testing.TB) *App {
	t.Helper()
	app, err := caddy.ActiveContext().AppIfConfigured("analytics")
	if err != nil {
		t.Fatal(err)
	}
	return app.(*App)
}

// until waits for a condition, generously.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("waited in vain until %s", what)
}

func pipelineNamed(t testing.TB, a *App, name string) PipelineStatus {
	t.Helper()
	for _, p := range a.PipelineReports() {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("there is no pipeline %q", name)
	return PipelineStatus{}
}

// The engine starts step by step, collects and evaluates, and at its end collects a last
// time, flushes and gives the store back, in this order.
func TestEngineStartsAndStops(t *testing.T) {
	known := goleak.IgnoreCurrent()
	r := newRig(t)
	if err := caddy.Load(rigConfig(""), true); err != nil {
		t.Fatal(err)
	}
	a := runningApp(t)
	until(t, "all steps are over", func() bool {
		for _, s := range a.StatusReport().Steps {
			if s.State != done && s.State != skipped {
				return false
			}
		}
		return pipelineNamed(t, a, "mine").Runs > 1
	})
	st := a.StatusReport()
	if st.State != phaseRunning || len(st.Problems) > 0 {
		t.Errorf("state is %s, problems are %v", st.State, st.Problems)
	}
	p := pipelineNamed(t, a, "mine")
	if p.State != running || p.Series != 3 || p.Samples < 6 || p.Errors != 0 || !p.Next.After(p.LastRun) || p.Source != "rig" {
		t.Errorf("pipeline is %+v", p)
	}
	if src := st.Sources[0]; src.State != "up" || src.Targets != 1 || src.LastSamples != 4 {
		t.Errorf("source is %+v", src)
	}
	if st.Store == nil || st.Store.Series != 4 || st.Windows.Series != 3 || st.Windows.Bytes == 0 || st.Memory.ProcessHeapBytes == 0 {
		t.Errorf("store is %+v, windows are %+v, memory is %+v", st.Store, st.Windows, st.Memory)
	}
	for _, s := range a.CurrentSignals() {
		if want := map[string]int{"load": 2, "wave": 1}[s.Name]; len(s.Series) != want || s.Series[0].Value == nil {
			t.Errorf("signal %s has %+v", s.Name, s.Series)
		}
	}
	if b, err := json.Marshal(st); err != nil || !strings.Contains(string(b), `"uptime_seconds"`) {
		t.Errorf("status is %s: %v", b, err)
	}
	before := r.collected.Load()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if got, want := r.lines(), "last collection, flush, release"; got != want {
		t.Errorf("the end was %q, want %q", got, want)
	}
	if r.collected.Load() <= before {
		t.Error("nothing was collected at the end")
	}
	if got := a.StatusReport().State; got != phaseStopped {
		t.Errorf("state is %s after the stop", got)
	}
	if err := goleak.Find(known); err != nil {
		t.Error(err)
	}
}

// A store that cannot be opened leaves the app running and is tried again; the status
// tells what is wrong.
func TestStoreThatCannotBeOpened(t *testing.T) {
	r := newRig(t)
	var locked atomic.Bool
	locked.Store(true)
	var tries atomic.Int64
	r.open = func() error {
		if tries.Add(1)%2 == 0 {
			panic("while opening")
		}
		if locked.Load() {
			return errors.New("the directory is locked by another process: stop that, or set another directory")
		}
		return nil
	}
	a := r.run(t, "")
	until(t, "it was tried three times", func() bool { return tries.Load() >= 3 })
	st := a.StatusReport()
	if st.State != phaseDegraded || len(st.Problems) != 1 || st.Store != nil {
		t.Errorf("state is %s, problems are %q, store is %+v", st.State, st.Problems, st.Store)
	}
	until(t, "the status tells of it", func() bool {
		return strings.Contains(strings.Join(a.StatusReport().Problems, " "), "set another directory")
	})
	if st.Trouble.Panics == 0 {
		t.Error("the panic was not counted")
	}
	if _, _, err := a.FrameFor(t.Context(), time.Now().Add(-time.Minute), time.Now(), 0, nil); !errors.Is(err, errNotRunning) {
		t.Errorf("error is %v, want %v", err, errNotRunning)
	}
	locked.Store(false)
	until(t, "it runs", func() bool { return a.StatusReport().State == phaseRunning })
	for _, s := range a.StatusReport().Steps {
		if s.Name == stepStore && (s.State != done || s.Tries < 3 || s.Error != "") {
			t.Errorf("step is %+v", s)
		}
	}
}

// Nobody waits for a store that takes its time, neither the start nor the stop; it is
// given back when it is open at last.
func TestStopDoesNotWaitForTheStore(t *testing.T) {
	r := newRig(t)
	hold := make(chan struct{})
	r.open = func() error { <-hold; return nil }
	if err := caddy.Load(rigConfig(""), true); err != nil {
		t.Fatal(err)
	}
	if st := runningApp(t).StatusReport(); st.State != phaseStarting {
		t.Errorf("state is %s", st.State)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	close(hold)
	until(t, "the store is given back", func() bool { return r.opened.Load() == 1 && r.released.Load() == 1 })
}

// What fails or panics in a signal is shown and counted, and keeps no other signal back.
func TestTroubleInASignal(t *testing.T) {
	r := newRig(t)
	a := r.run(t, "")
	for _, c := range []struct {
		name, want string
		fail       func(expr string) error
	}{
		{"error", "signal load: no luck", func(expr string) error {
			if expr == "load" {
				return errors.New("no luck")
			}
			return nil
		}},
		{"panic", "signal load: panic: boom", func(expr string) error {
			if expr == "load" {
				panic("boom")
			}
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.breakInstant(c.fail)
			until(t, "it shows", func() bool { return strings.Contains(pipelineNamed(t, a, "mine").LastError, c.want) })
			st := a.StatusReport()
			p := pipelineNamed(t, a, "mine")
			if st.State != phaseDegraded || p.State != "failing" || p.Errors == 0 || p.Series != 1 {
				t.Errorf("state is %s, pipeline is %+v", st.State, p)
			}
			if c.name == "panic" && (st.Trouble.Panics == 0 || !strings.Contains(st.Trouble.LastPanic, "boom")) {
				t.Errorf("trouble is %+v", st.Trouble)
			}
			r.breakInstant(nil)
			until(t, "it runs again", func() bool { return a.StatusReport().State == phaseRunning })
		})
	}
}

// What fails many signals alike is told once.
func TestSignalsThatFailAlike(t *testing.T) {
	for _, c := range []struct {
		signals string
		want    string
	}{
		{"a", "signal a: away"},
		{"a b c", "signals a, b, c: away"},
		{"a b c d e", "signals a, b and 3 more: away"},
	} {
		var f signalFailures
		for _, name := range strings.Fields(c.signals) {
			f.add(name, errors.New("away"))
		}
		f.add("other", &panicked{value: "boom"})
		err := f.join()
		if got, want := err.Error(), c.want+"\nsignal other: panic: boom"; got != want {
			t.Errorf("%s: %q, want %q", c.signals, got, want)
		}
		if p := (*panicked)(nil); !errors.As(err, &p) {
			t.Errorf("%s: the panic is not found in %v", c.signals, err)
		}
	}
	if err := new(signalFailures).join(); err != nil {
		t.Errorf("nothing failed: %v", err)
	}
}

// A source that fails, panics or ends is shown as down, and started anew.
func TestTroubleInASource(t *testing.T) {
	r := newRig(t)
	a := r.run(t, "")
	set := func(f func() error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.scrape = f
	}
	down := func(words string) {
		t.Helper()
		until(t, "the source is down", func() bool {
			s := a.StatusReport().Sources[0]
			return s.State == "down" && s.Errors > 0 && strings.Contains(s.LastError, words)
		})
		if st := a.StatusReport(); st.State != phaseDegraded {
			t.Errorf("state is %s", st.State)
		}
		if p := pipelineNamed(t, a, "mine"); p.State != "failing" {
			t.Errorf("pipeline is %+v", p)
		}
	}
	set(func() error { return errors.New("connection refused") })
	down("here: connection refused")
	set(func() error { panic("in the source") })
	down("in the source")
	set(nil)
	until(t, "it is up", func() bool { return a.StatusReport().State == phaseRunning })
	if s := a.StatusReport().Sources[0]; s.Restarts == 0 {
		t.Errorf("source is %+v", s)
	}
}

// Analyses that take longer than their interval have the next runs left out, which is
// counted.
func TestFollowing(t *testing.T) {
	at := time.Unix(1000, 0)
	for _, c := range []struct {
		took, next time.Duration
		left       uint64
	}{
		{0, time.Second, 0},
		{900 * time.Millisecond, time.Second, 0},
		{1100 * time.Millisecond, 2 * time.Second, 1},
		{3500 * time.Millisecond, 4 * time.Second, 3},
	} {
		next, left := following(at, time.Second, at, c.took)
		if got := next.Sub(at); got != c.next || left != c.left {
			t.Errorf("after %v: next in %v with %d left out, want %v and %d", c.took, got, left, c.next, c.left)
		}
	}
}
