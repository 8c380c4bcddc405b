package analytics

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// collected takes in what a source tells.
type collected struct {
	mu  sync.Mutex
	all []Collection
}

func (c *collected) note(col Collection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, col)
}

func (c *collected) of(target string) (n int, last Collection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, col := range c.all {
		if target == "" || col.Target == target {
			n, last = n+1, col
		}
	}
	return n, last
}

// eventually waits for a condition, for long if it must.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// provision gets a source ready as Caddy does.
func provision(t *testing.T, mod caddy.Module) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	if err := mod.(caddy.Provisioner).Provision(ctx); err != nil {
		t.Fatal(err)
	}
	if err := mod.(caddy.Validator).Validate(); err != nil {
		t.Fatal(err)
	}
}

// runSource collects until stop is called, or the test ends.
func runSource(t *testing.T, s Source, interval time.Duration) (store.Store, *collected, func()) {
	t.Helper()
	m := store.NewMemory(store.MemoryOptions{})
	c := new(collected)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, m, interval, c.note) }()
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("the source does not end")
		}
	})
	t.Cleanup(func() {
		stop()
		_ = m.Close()
	})
	return m, c, stop
}

func value1(t *testing.T, s store.Store, expr string) float64 {
	t.Helper()
	v, _, err := s.Instant(t.Context(), expr, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(v) != 1 {
		return -1
	}
	return v[0].F
}

// testRegistry is a registry source over collectors of the test.
func testRegistry(t *testing.T, cs ...prometheus.Collector) *RegistrySource {
	t.Helper()
	r := &RegistrySource{Instance: "here", Labels: map[string]string{"site": "a"}}
	provision(t, r)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(cs...)
	r.gatherer = reg
	return r
}

func TestRegistrySource(t *testing.T) {
	requests := prometheus.NewCounter(prometheus.CounterOpts{Name: "test_requests_total", Help: "h"})
	seconds := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "test_seconds", Help: "h", NativeHistogramBucketFactor: 1.1, Buckets: prometheus.DefBuckets})
	requests.Add(41)
	for i := range 100 {
		seconds.Observe(float64(i) / 100)
	}
	src := testRegistry(t, requests, seconds)
	s, c, stop := runSource(t, src, time.Second)
	eventually(t, "two collections", func() bool { n, _ := c.of(""); return n >= 2 })
	if n, last := c.of("here"); n == 0 || last.Err != nil || last.Source != "registry" || last.Samples < 3 || last.At.IsZero() || last.Took <= 0 {
		t.Errorf("%d collections, the last is %+v", n, last)
	}
	if v := value1(t, s, `up{job="registry",instance="here",site="a"}`); v != 1 {
		t.Errorf("up is %v", v)
	}
	if v := value1(t, s, `scrape_duration_seconds`); v < 0 {
		t.Errorf("scrape_duration_seconds is %v", v)
	}
	if v := value1(t, s, `test_requests_total{site="a"}`); v != 41 {
		t.Errorf("the counter is %v", v)
	}
	if v := value1(t, s, `histogram_quantile(0.5, test_seconds)`); v < .4 || v > .6 {
		t.Errorf("the native histogram's median is %v", v)
	}
	if v := value1(t, s, `test_seconds_bucket{le="0.1"}`); v != 11 {
		t.Errorf("the classic bucket has %v", v)
	}
	// What counts up to the very end is collected.
	requests.Inc()
	before, _ := c.of("")
	stop()
	if v := value1(t, s, `test_requests_total`); v != 42 {
		t.Errorf("after the last collection the counter is %v", v)
	}
	if after, _ := c.of(""); after <= before {
		t.Error("there was no last collection")
	}
}

func TestRegistrySourceCollectsAtOnce(t *testing.T) {
	src := testRegistry(t, prometheus.NewGauge(prometheus.GaugeOpts{Name: "test_gauge", Help: "h"}))
	began := time.Now()
	_, c, _ := runSource(t, src, time.Hour)
	eventually(t, "a collection", func() bool { n, _ := c.of(""); return n >= 1 })
	if _, first := c.of(""); first.Err != nil || first.At.Before(began.Add(-time.Second)) {
		t.Errorf("the first is %+v", first)
	}
}

// manyGauges is a collector of so many series.
type manyGauges struct {
	desc *prometheus.Desc
	n    int
}

func (m manyGauges) Describe(ch chan<- *prometheus.Desc) { ch <- m.desc }
func (m manyGauges) Collect(ch chan<- prometheus.Metric) {
	for i := range m.n {
		ch <- prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, float64(i), fmt.Sprintf("127.0.0.1:%d", i))
	}
}

// A process with hundreds of backends is collected from without a word about it, and what is
// too much is configurable.
func TestRegistrySourceOfManySeries(t *testing.T) {
	const n = 90_000
	many := manyGauges{prometheus.NewDesc("test_many", "h", []string{"backend"}, nil), n}
	_, c, stop := runSource(t, testRegistry(t, many), time.Hour)
	eventually(t, "a collection", func() bool { n, _ := c.of(""); return n >= 1 })
	if _, last := c.of(""); last.Err != nil || last.Samples < n {
		t.Errorf("%+v", last)
	}
	stop()
	for name, limit := range map[string]*RegistrySource{"sample limit": {MaxSamples: n - 1}, "body size limit": {MaxSize: 1 << 20}} {
		provision(t, limit)
		reg := prometheus.NewPedanticRegistry()
		reg.MustRegister(many)
		limit.gatherer = reg
		_, c, _ := runSource(t, limit, time.Hour)
		eventually(t, "a failure", func() bool { n, _ := c.of(""); return n >= 1 })
		if _, last := c.of(""); last.Err == nil || !strings.Contains(last.Err.Error(), name) || sourceFix(last.Err.Error()) == sourceFix("") {
			t.Errorf("%s: %+v", name, last)
		}
	}
}

// A collector that fails takes no other with it.
func TestRegistrySourceBrokenCollector(t *testing.T) {
	good := prometheus.NewGauge(prometheus.GaugeOpts{Name: "test_good", Help: "h"})
	bad := prometheus.NewInvalidDesc(fmt.Errorf("broken on purpose"))
	src := testRegistry(t, good, invalidCollector{prometheus.NewDesc("test_bad", "h", nil, nil), prometheus.NewInvalidMetric(bad, fmt.Errorf("broken on purpose"))})
	s, c, _ := runSource(t, src, time.Second)
	eventually(t, "a collection", func() bool { n, _ := c.of(""); return n >= 1 })
	if _, last := c.of(""); last.Err != nil {
		t.Errorf("%+v", last)
	}
	if v := value1(t, s, "test_good"); v != 0 {
		t.Errorf("the good one is %v", v)
	}
}

type invalidCollector struct {
	desc   *prometheus.Desc
	metric prometheus.Metric
}

func (i invalidCollector) Describe(ch chan<- *prometheus.Desc) { ch <- i.desc }
func (i invalidCollector) Collect(ch chan<- prometheus.Metric) { ch <- i.metric }

// A collector that hangs makes up 0, holds up nothing, and is gone on with afterwards.
func TestRegistrySourceHangingCollector(t *testing.T) {
	release := make(chan struct{})
	src := testRegistry(t, hangingCollector{prometheus.NewDesc("test_hanging", "h", nil, nil), release})
	src.scraping.timeout = 100 * time.Millisecond
	s, c, _ := runSource(t, src, time.Second)
	eventually(t, "a failure", func() bool { _, last := c.of(""); return last.Err != nil })
	if v := value1(t, s, "up"); v != 0 {
		t.Errorf("up is %v", v)
	}
	close(release)
	eventually(t, "a success", func() bool { n, last := c.of(""); return n > 0 && last.Err == nil })
}

type hangingCollector struct {
	desc    *prometheus.Desc
	release chan struct{}
}

func (h hangingCollector) Describe(ch chan<- *prometheus.Desc) { ch <- h.desc }
func (h hangingCollector) Collect(ch chan<- prometheus.Metric) {
	<-h.release
	ch <- prometheus.MustNewConstMetric(h.desc, prometheus.GaugeValue, 1)
}

// scrapeOf makes a scrape source of targets.
func scrapeOf(t *testing.T, change func(*ScrapeSource), targets ...string) *ScrapeSource {
	t.Helper()
	s := &ScrapeSource{SourceName: "others", Targets: targets}
	if change != nil {
		change(s)
	}
	provision(t, s)
	return s
}

func serve(t *testing.T, h http.HandlerFunc) (address string) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func TestScrapeSource(t *testing.T) {
	t.Setenv("TEST_SCRAPE_PASSWORD", "open sesame")
	good := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if user, pass, _ := r.BasicAuth(); user != "ali" || pass != "open sesame" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path != "/m" || r.Header.Get("X-Tenant") != "t1" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(w, "# TYPE good_total counter\ngood_total{job=\"liar\"} 7\n")
	})
	stalled := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	refused := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	garbage := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "this { is no metric\n") })
	endless := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 1000 {
			if _, err := w.Write(bytes.Repeat([]byte("#\n"), 1000)); err != nil {
				return
			}
		}
	})
	bomb := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(bytes.Repeat([]byte("#\n"), 1_000_000))
		_ = z.Close()
	})
	labels := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "many{x=%q} 1\n", strings.Repeat("y", 100))
	})
	many := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for i := range 20 {
			fmt.Fprintf(w, "many{i=\"%d\"} 1\n", i)
		}
	})
	src := scrapeOf(t, func(s *ScrapeSource) {
		s.Path = "/m"
		s.Username, s.Password = "ali", "{env.TEST_SCRAPE_PASSWORD}"
		s.Headers = map[string]string{"X-Tenant": "t1"}
		s.Timeout = caddy.Duration(900 * time.Millisecond)
		s.MaxSize = 100_000
		s.MaxSamples = 10
		s.MaxLabelLength = 50
	}, good, stalled, refused, garbage, endless, bomb, labels, many)
	s, c, stop := runSource(t, src, time.Second)
	for target, want := range map[string]string{
		good: "", stalled: "deadline exceeded", refused: "418", garbage: "parsing", endless: "size", bomb: "size", labels: "label", many: "sample limit",
	} {
		// On a busy machine some other than the stalled one may run out of time, too.
		eventually(t, fmt.Sprintf("the outcome %q", want), func() bool {
			n, last := c.of(target)
			return n > 0 && (want == "" && last.Err == nil || want != "" && last.Err != nil && strings.Contains(last.Err.Error(), want))
		})
		up := value1(t, s, fmt.Sprintf(`up{instance=%q}`, target))
		if ok := want == ""; ok != (up == 1) || up < 0 {
			t.Errorf("%q: up is %v", want, up)
		}
	}
	if v := value1(t, s, `good_total{job="others",exported_job="liar"}`); v != 7 {
		t.Errorf("a target's own job is moved aside: %v", v)
	}
	stop()
}

func TestScrapeTargets(t *testing.T) {
	for text, want := range map[string]string{
		"example.com:9100":                `{__address__="example.com:9100", __metrics_path__="/metrics", __scheme__="http"}`,
		"https://example.com/a/b?x=1":     `{__address__="example.com:443", __metrics_path__="/a/b", __param_x="1", __scheme__="https"}`,
		"[::1]:80":                        `{__address__="[::1]:80", __metrics_path__="/metrics", __scheme__="http"}`,
		"http://[::1]":                    `{__address__="[::1]:80", __metrics_path__="/metrics", __scheme__="http"}`,
		"http://ali:sesame@example.com":   "basic_auth",
		"file:///etc/passwd":              "scheme",
		"http://ali:sesame@exa mple.com":  "not an address",
		"http://example.com/a?x=1&x=2":    "parameter",
		"http://example.com/#f":           "fragment",
		"example.com:99999":               "from 1 to 65535",
		"http://example.com:0/":           "from 1 to 65535",
		"":                                "no host",
		"http://example.com:notaport/abc": "not an address",
	} {
		set, _, err := parseTarget(text, "/metrics")
		got := set.String()
		if err != nil {
			got = err.Error()
			if strings.Contains(got, "sesame") {
				t.Errorf("%s: the error shows the password: %v", text, err)
			}
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"a:1", "https://a/b?c=d", "[::1]:2", "http://u:p@h", "%", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, address, err := parseTarget(text, "/metrics")
		if err == nil && (set.Validate() != nil && strings.ToValidUTF8(text, "") == text || address == "") {
			t.Errorf("%q: %v, %q", text, set, address)
		}
	})
}

func TestScrapeSourceKnowsItsMetrics(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprint(w, "# HELP shop_orders_total Orders placed.\n# TYPE shop_orders_total counter\nshop_orders_total 5\n")
	}))
	defer server.Close()
	src := &ScrapeSource{SourceName: "shop", Targets: []string{server.URL}}
	provision(t, src)
	if got := src.metricMetadata(); got != nil {
		t.Errorf("before it runs: %+v", got)
	}
	_, _, stop := runSource(t, src, time.Second)
	eventually(t, "metadata", func() bool {
		for _, m := range src.metricMetadata() {
			if m.MetricFamily == "shop_orders_total" && m.Type == "counter" && m.Help == "Orders placed." {
				return true
			}
		}
		return false
	})
	stop()
	if got := src.metricMetadata(); got != nil {
		t.Errorf("after its end: %+v", got)
	}
}
