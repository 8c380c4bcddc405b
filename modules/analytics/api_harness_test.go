package analytics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// apiCaddy is a Caddy with a site and the admin API.
type apiCaddy struct {
	t           testing.TB
	site, admin string // addresses
}

// startAPICaddy runs Caddy with the directives in its site until the test ends.
func startAPICaddy(t testing.TB, global, directives string) *apiCaddy {
	t.Helper()
	c := &apiCaddy{t, apiAddr(t), apiAddr(t)}
	if err := c.load(global, directives); err != nil {
		t.Fatalf("loading: %v", err)
	}
	t.Cleanup(func() {
		// Stop alone leaves the admin API running.
		if err := errors.Join(caddy.Load([]byte(`{"admin": {"disabled": true, "config": {"persist": false}}}`), true), caddy.Stop()); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	return c
}

func (c *apiCaddy) load(global, directives string) error {
	text := fmt.Sprintf("{\n\tadmin %s\n\tauto_https off\n\tpersist_config off\n\tstorage file_system %s\n\tlog {\n\t\tlevel ERROR\n\t}\n%s\n}\nhttp://:%s {\n%s\n}\n",
		c.admin, c.t.TempDir(), global, c.site[strings.LastIndexByte(c.site, ':')+1:], directives)
	out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	return caddy.Load(out, true)
}

// apiAddr returns a free address on loopback.
func apiAddr(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// apiReply is an answer that was read to its end.
type apiReply struct {
	*http.Response
	body string
}

// ask sends a request. change may be nil.
func (c *apiCaddy) ask(method, url, body string, change func(*http.Request)) apiReply {
	c.t.Helper()
	r, err := http.NewRequest(method, "http://"+url, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if change != nil {
		change(r)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	res, err := client.Do(r)
	for n := 0; err != nil && n < 50 && body == "" && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)); n++ {
		// While Caddy swaps listeners on one port the kernel resets connections that the old
		// one has not accepted; clients ask again.
		res, err = client.Do(r)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return apiReply{res, string(text)}
}

// get asks the site, and decodes the answer into v if that is not nil.
func (c *apiCaddy) get(path string, status int, v any) apiReply {
	c.t.Helper()
	return c.ask("GET", c.site+path, "", nil).check(c.t, path, status, v)
}

// getAdmin asks the admin API.
func (c *apiCaddy) getAdmin(path string, status int, v any) apiReply {
	c.t.Helper()
	return c.ask("GET", c.admin+path, "", nil).check(c.t, path, status, v)
}

func (r apiReply) check(t testing.TB, path string, status int, v any) apiReply {
	t.Helper()
	if r.StatusCode != status {
		t.Fatalf("%s: status %d, want %d: %s", path, r.StatusCode, status, r.body)
	}
	if v != nil {
		if err := json.Unmarshal([]byte(r.body), v); err != nil {
			t.Fatalf("%s: %v: %s", path, err, r.body)
		}
	}
	return r
}

// mentions checks the text of an error.
func (r apiReply) mentions(t testing.TB, words ...string) {
	t.Helper()
	var e struct{ Error string }
	if err := json.Unmarshal([]byte(r.body), &e); err != nil || e.Error == "" {
		t.Fatalf("no error: %s", r.body)
	}
	for _, w := range words {
		if !strings.Contains(e.Error, w) {
			t.Errorf("error %q does not mention %q", e.Error, w)
		}
	}
}

// fakeApps are found in place of Caddy's, unless it is nil.
var fakeApps atomic.Pointer[map[string]any]

func init() {
	real := findApp
	findApp = func(name string) (any, error) {
		apps := fakeApps.Load()
		if apps == nil {
			return real(name)
		}
		if app, ok := (*apps)[name]; ok {
			return app, nil
		}
		return nil, fmt.Errorf("app %s: %w", name, caddy.ErrNotConfigured)
	}
}

// withApps has the API find these apps in place of Caddy's until the test ends.
func withApps(t testing.TB, apps map[string]any) {
	t.Helper()
	before := fakeApps.Swap(&apps)
	t.Cleanup(func() { fakeApps.Store(before) })
}

// fakeEngine is an engine over a store.
type fakeEngine struct {
	store  store.Store
	limits QueryLimits
	report *StatusReport
	meta   []scrape.MetricMetadata
	frame  func(from, to time.Time, step time.Duration) (*window.Frame, []SeriesInfo)
}

func (f *fakeEngine) FrameFor(_ context.Context, from, to time.Time, step time.Duration, names []string) (*window.Frame, []SeriesInfo, error) {
	frame, infos := f.frame(from, to, step)
	frame, infos = choose(frame, infos, names)
	return frame, infos, nil
}

func (f *fakeEngine) ScrapedMetadata() []scrape.MetricMetadata { return f.meta }

func (*fakeEngine) CurrentSignals() []SignalReport {
	return []SignalReport{{Pipeline: "balancer", Name: "latency"}, {Pipeline: "balancer", Name: "load"}, {Pipeline: "network", Name: "rtt"}}
}

func (*fakeEngine) PipelineReports() []PipelineStatus {
	return []PipelineStatus{{Name: "balancer"}, {Name: "network"}}
}

func (f *fakeEngine) StatusReport() StatusReport {
	if f.report != nil {
		return *f.report
	}
	return StatusReport{State: phaseDegraded, Problems: []string{"store: full"}, Settings: SettingsStatus{CollectIntervalSeconds: 10}}
}
func (f *fakeEngine) Store() store.Store { return f.store }
func (f *fakeEngine) QueryLimits() QueryLimits {
	l := f.limits
	l.setDefaults()
	return l
}

// testStore is a store that answers with Prometheus' engine over its TSDB.
type testStore struct {
	store.Store
	db     *tsdb.DB
	engine *promql.Engine
	// before, if not nil, is called before each answer.
	before func(ctx context.Context)
}

// apiEpoch is when the samples of a testStore begin; they are 10 s apart, 30 of them.
var apiEpoch = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

const apiSamples = 30

func newTestStore(t testing.TB) *testStore {
	t.Helper()
	o := tsdb.DefaultOptions()
	db, err := tsdb.Open(t.TempDir(), nil, nil, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &testStore{db: db, engine: promql.NewEngine(promql.EngineOpts{MaxSamples: 100_000, Timeout: time.Minute, EnableAtModifier: true, EnableNegativeOffset: true})}
	app := db.Appender(t.Context())
	put := func(at int64, v float64, h *histogram.FloatHistogram, ls labels.Labels) {
		var err error
		if h != nil {
			_, err = app.AppendHistogram(0, ls, at, nil, h)
		} else {
			_, err = app.Append(0, ls, at, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range apiSamples {
		at := apiEpoch.Add(time.Duration(i) * 10 * time.Second).UnixMilli()
		for b := range 3 {
			put(at, float64(10*(b+1)*i), nil, labels.FromStrings("__name__", "requests_total", "backend", fmt.Sprintf("b%d", b), "pool", "app"))
		}
		put(at, math.Inf(1), nil, labels.FromStrings("__name__", "odd", "text", "<script>\"\u202e\n"))
		put(at, 0, &histogram.FloatHistogram{
			Schema: 1, ZeroThreshold: 0.001, ZeroCount: 1, Count: float64(6 + i), Sum: 18.5 + float64(i),
			PositiveSpans:   []histogram.Span{{Offset: 0, Length: 2}},
			PositiveBuckets: []float64{2, float64(3 + i)},
		}, labels.FromStrings("__name__", "latency_seconds", "pool", "app"))
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *testStore) enter(ctx context.Context) error {
	if s.before != nil {
		s.before(ctx)
	}
	return ctx.Err()
}

func (s *testStore) Instant(ctx context.Context, expr string, at time.Time) (promql.Vector, annotations.Annotations, error) {
	if err := s.enter(ctx); err != nil {
		return nil, nil, err
	}
	q, err := s.engine.NewInstantQuery(ctx, s.db, nil, expr, at)
	if err != nil {
		return nil, nil, err
	}
	switch r := q.Exec(ctx); v := r.Value.(type) {
	case promql.Vector:
		return v, r.Warnings, r.Err
	case promql.Scalar:
		return promql.Vector{{T: v.T, F: v.V}}, r.Warnings, r.Err
	default:
		return nil, r.Warnings, r.Err
	}
}

func (s *testStore) Range(ctx context.Context, expr string, from, to time.Time, step time.Duration) (promql.Matrix, annotations.Annotations, error) {
	if err := s.enter(ctx); err != nil {
		return nil, nil, err
	}
	q, err := s.engine.NewRangeQuery(ctx, s.db, nil, expr, from, to, step)
	if err != nil {
		return nil, nil, err
	}
	r := q.Exec(ctx)
	m, _ := r.Value.(promql.Matrix)
	return m, r.Warnings, r.Err
}

func (s *testStore) querier(from, to time.Time) storage.Querier {
	q, err := s.db.Querier(from.UnixMilli(), to.UnixMilli())
	if err != nil {
		panic(err)
	}
	return q
}

func (s *testStore) LabelNames(ctx context.Context, from, to time.Time, limit int, m ...[]*labels.Matcher) ([]string, annotations.Annotations, error) {
	q := s.querier(from, to)
	defer q.Close()
	var first []*labels.Matcher
	if len(m) > 0 {
		first = m[0]
	}
	return q.LabelNames(ctx, &storage.LabelHints{Limit: limit}, first...)
}

func (s *testStore) LabelValues(ctx context.Context, name string, from, to time.Time, limit int, m ...[]*labels.Matcher) ([]string, annotations.Annotations, error) {
	q := s.querier(from, to)
	defer q.Close()
	var first []*labels.Matcher
	if len(m) > 0 {
		first = m[0]
	}
	return q.LabelValues(ctx, name, &storage.LabelHints{Limit: limit}, first...)
}

func (s *testStore) Series(ctx context.Context, from, to time.Time, limit int, m ...[]*labels.Matcher) ([]labels.Labels, annotations.Annotations, error) {
	q := s.querier(from, to)
	defer q.Close()
	var all []labels.Labels
	for set := q.Select(ctx, true, nil, m[0]...); set.Next(); {
		all = append(all, set.At().Labels())
	}
	return all, nil, nil
}

// startFake runs a Caddy whose engine is a fake over a testStore.
func startFake(t testing.TB, directives string) (*apiCaddy, *fakeEngine) {
	t.Helper()
	e := &fakeEngine{store: newTestStore(t)}
	withApps(t, map[string]any{"analytics": e})
	return startAPICaddy(t, "", directives), e
}

// putUp adds a target that is up.
func (s *testStore) putUp(t testing.TB, at time.Time) {
	t.Helper()
	app := s.db.Appender(t.Context())
	if _, err := app.Append(0, labels.FromStrings("__name__", "up", "job", "registry"), at.UnixMilli(), 1); err != nil {
		t.Fatal(err)
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}

// Interface guards
var _ apiEngine = (*fakeEngine)(nil)
