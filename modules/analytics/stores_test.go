package analytics

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// openModule opens the store of a module as the engine does.
func openModule(t *testing.T, p StoreProvider) (store.Store, func() error) {
	t.Helper()
	provision(t, p.(caddy.Module))
	s, release, err := p.OpenStore(StoreEnv{})
	if err != nil {
		t.Fatal(err)
	}
	return s, release
}

func addOne(t *testing.T, s store.Store, name string, after time.Duration) {
	t.Helper()
	app := s.AppenderV2(t.Context())
	if _, err := app.Append(0, labels.FromStrings("__name__", name), 0, time.Now().Add(after).UnixMilli(), 1, nil, nil, storage.AOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}

// The old and the new configuration of a reload share a store; the last one closes it.
func TestStoresAreShared(t *testing.T) {
	dir := t.TempDir()
	for kind, module := range map[string]func() StoreProvider{
		"memory": func() StoreProvider { return new(MemoryStore) },
		"tsdb":   func() StoreProvider { return &TSDBStore{Dir: filepath.Join(dir, "t"), MaxSeries: 5} },
		"prometheus": func() StoreProvider {
			return &PrometheusStore{URL: "http://127.0.0.1:1", Dir: filepath.Join(dir, "p")}
		},
	} {
		t.Run(kind, func(t *testing.T) {
			first, releaseFirst := openModule(t, module())
			addOne(t, first, "shared", 0)
			second, releaseSecond := openModule(t, module())
			if first != second {
				t.Fatal("it was opened twice")
			}
			if err := releaseFirst(); err != nil {
				t.Fatal(err)
			}
			addOne(t, second, "shared", time.Minute)
			if st := second.Status(); st.Kind != kind || st.Samples != 2 || strings.Contains(st.Problem, "closed") {
				t.Errorf("it goes on: %+v", st)
			}
			if err := releaseSecond(); err != nil {
				t.Fatal(err)
			}
			if st := second.Status(); st.OK {
				t.Errorf("after the last release it is closed: %+v", st)
			}
			third, release := openModule(t, module())
			if third == first {
				t.Error("a closed store was given")
			}
			if err := release(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A configuration that is only validated leaves nothing behind.
func TestValidateOpensNothing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TEST_STORE_DIR", dir)
	for _, lines := range []string{
		"store tsdb {$TEST_STORE_DIR}/a/b",
		"store prometheus http://127.0.0.1:1 {\n\t\t\tdir {env.TEST_STORE_DIR}/q\n\t\t}",
		"store memory\n\t\tsource scrape other 127.0.0.1:1",
	} {
		out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("{\n\tanalytics {\n\t\t"+lines+"\n\t}\n}\n"), map[string]any{"filename": "Caddyfile"})
		if err != nil {
			t.Fatal(err)
		}
		var c caddy.Config
		if err := caddy.StrictUnmarshalJSON(out, &c); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Validate(&c); err != nil {
			t.Errorf("%s: %v", lines, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// What was collected up to the stop, and the last collection, are on disk afterwards.
func TestStopKeepsWhatWasCollected(t *testing.T) {
	dir := t.TempDir()
	src := testRegistry(t, prometheus.NewGauge(prometheus.GaugeOpts{Name: "test_stop", Help: "h"}))
	s, release := openModule(t, &TSDBStore{Dir: dir})
	c := new(collected)
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	done := make(chan error, 1)
	go func() { done <- src.Run(ctx, s, time.Second, c.note) }()
	eventually(t, "two collections", func() bool { n, _ := c.of(""); return n >= 2 })
	asked := time.Now()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	n, last := c.of("")
	again, err := store.OpenTSDB(store.TSDBOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if v := value1(t, again, `count_over_time(test_stop[1h])`); v != float64(n) {
		t.Errorf("%d collections, and %v are on disk", n, v)
	}
	if last.At.Before(asked.Truncate(time.Millisecond)) {
		t.Errorf("the last collection is from %v, before the stop at %v", last.At, asked)
	}
}

func TestStoreCaddyfile(t *testing.T) {
	for _, c := range []struct {
		module caddyfile.Unmarshaler
		input  string
		want   string // JSON, or words of the error
	}{
		{new(MemoryStore), "memory {\nmax_series 5\nmax_samples 100\nmax_size 8MiB\nretention 2h\nout_of_order 5m\n}",
			`{"max_series":5,"max_samples":100,"max_size":8388608,"retention":7200000000000,"out_of_order":300000000000}`},
		{new(MemoryStore), "memory x", "wrong argument count"},
		{new(MemoryStore), "memory {\nmax_size huge\n}", "such as 512MiB"},
		{new(TSDBStore), "tsdb /data {\nretention 30d\nmax_size 1GB\nmax_series 7\nout_of_order 1m\nflush_interval 1s\n}",
			`{"dir":"/data","retention":2592000000000000,"max_size":1000000000,"max_series":7,"out_of_order":60000000000,"flush_interval":1000000000}`},
		{new(TSDBStore), "tsdb {\nretention never\n}", "must be a duration"},
		{new(TSDBStore), "tsdb {\nnonsense\n}", "unrecognized"},
		{new(PrometheusStore), "prometheus http://p:9090 {\nbasic_auth a {env.P}\nmax_queue 1MiB\ntls {\nca /ca.pem\ncertificate /c /k\n}\n}",
			`{"username":"a","password":"{env.P}","tls":{"ca":"/ca.pem","certificate":"/c","key":"/k"},"url":"http://p:9090","max_queue":1048576}`},
		{new(PrometheusStore), "prometheus {\ntls {\nx\n}\n}", "unrecognized"},
		{new(ScrapeSource), "scrape other a:1 b:2 {\npath /p\nlabel x y\ntimeout 2s\nbearer_token {file./t}\nhonor_labels\n}",
			`{"bearer_token":"{file./t}","name":"other","targets":["a:1","b:2"],"path":"/p","labels":{"x":"y"},"timeout":2000000000,"honor_labels":true}`},
		{new(ScrapeSource), "scrape other", "no target"},
		{new(ScrapeSource), "scrape", "wrong argument count"},
		{new(RegistrySource), "registry mine {\ninstance a\nlabel x y\n}", `{"name":"mine","instance":"a","labels":{"x":"y"}}`},
	} {
		err := c.module.UnmarshalCaddyfile(caddyfile.NewTestDispenser(c.input))
		got := string(caddyconfig.JSON(c.module, nil))
		if err != nil {
			got = err.Error()
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%s:\n%s\nwant\n%s", c.input, got, c.want)
		}
	}
}

func TestStoreModulesRefuse(t *testing.T) {
	t.Setenv("TEST_SECRET_URL", "http://ali:sesame@p:9090")
	for want, mod := range map[string]caddy.Module{
		"max_size":   &TSDBStore{MaxSize: 5},
		"retention":  &MemoryStore{Retention: 1},
		"needs a":    &PrometheusStore{},
		"basic_auth": &PrometheusStore{URL: "{env.TEST_SECRET_URL}"},
		"not a URL":  &PrometheusStore{URL: "sesame"},
		"exclude":    &PrometheusStore{URL: "http://p", HTTPClient: HTTPClient{Username: "a", BearerToken: "b"}},
		"environ":    &PrometheusStore{URL: "{env.TEST_NOT_THERE}"},
		"twice":      &ScrapeSource{SourceName: "s", Targets: []string{"a:1", "http://a:1/x"}},
		"name":       &ScrapeSource{Targets: []string{"a:1"}},
		"cannot be":  &RegistrySource{Labels: map[string]string{"__name__": "x"}},
	} {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
		err := mod.(caddy.Provisioner).Provision(ctx)
		if err == nil {
			err = mod.(caddy.Validator).Validate()
		}
		cancel()
		if want == "environ" {
			if err == nil {
				t.Error("a variable that is not there is an error")
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sesame@") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// BenchmarkCollect collects 1,000 series of this process through the whole path: gathered,
// encoded, parsed and stored.
func BenchmarkCollect(b *testing.B) {
	b.ReportAllocs()
	reg := prometheus.NewRegistry()
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "bench_total", Help: "h"}, []string{"pool", "backend"})
	reg.MustRegister(v)
	for i := range 1000 {
		v.WithLabelValues("a", fmt.Sprintf("10.0.%d.%d:8080", i/250, i%250)).Inc()
	}
	r := new(RegistrySource)
	ctx, cancel := caddy.NewContext(caddy.Context{Context: b.Context()})
	defer cancel()
	if err := r.Provision(ctx); err != nil {
		b.Fatal(err)
	}
	r.gatherer = reg
	s, err := store.OpenTSDB(store.TSDBOptions{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	collections := make(chan Collection, 1)
	go func() {
		_ = r.Run(ctx, s, time.Second, func(c Collection) { collections <- c })
		close(collections)
	}()
	var total time.Duration
	least := time.Hour
	for range b.N {
		c := <-collections
		if c.Err != nil {
			b.Fatal(c.Err)
		}
		total += c.Took
		least = min(least, c.Took)
	}
	// The time between two collections is no work.
	b.ReportMetric(float64(total.Microseconds())/float64(b.N)/1000, "ms/collection")
	b.ReportMetric(float64(least.Microseconds())/1000, "ms/fastest")
	b.ReportMetric(0, "ns/op")
	cancel()
	for range collections {
	}
}
