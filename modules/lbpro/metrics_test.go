package lbpro

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// registry returns a pedantic registry with the collectors of this process, as every
// configuration has one.
func registry(t *testing.T) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := registerMetrics(r); err != nil {
		t.Fatal(err)
	}
	return r
}

// gathered returns the value of a metric with the labels, as they stand in the text
// format, and whether there is one.
func gathered(t *testing.T, r prometheus.Gatherer, name string, labels ...string) (float64, bool) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "caddy_lbpro_"+name {
			continue
		}
		for _, m := range f.Metric {
			have := make([]string, 0, len(m.Label))
			for _, l := range m.Label {
				have = append(have, l.GetName()+"="+l.GetValue())
			}
			if !slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(have, l) }) {
				return value(m), true
			}
		}
	}
	return 0, false
}

func value(m *dto.Metric) float64 {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	default:
		return float64(m.Histogram.GetSampleCount())
	}
}

// wantMetrics checks values by name and labels, written name{label=value,...}.
func wantMetrics(t *testing.T, r prometheus.Gatherer, want map[string]float64) {
	t.Helper()
	for what, w := range want {
		name, labels, _ := strings.Cut(strings.TrimSuffix(what, "}"), "{")
		got, ok := gathered(t, r, name, strings.Split(labels, ",")...)
		if !ok || got != w {
			t.Errorf("%s is %v (there: %v), want %v", what, got, ok, w)
		}
	}
}

func TestMetricsCountWhatHappened(t *testing.T) {
	good := serve(t, say("hello"))
	bad := serve(t, status(http.StatusInternalServerError))
	s, p := startPool(t, "lb_policy round_robin", good, bad)
	for range 4 {
		s.get("/").want(t, http.StatusOK, "hello")
	}
	idle(t, p)
	failed := float64(p.Get(bad.addr).Totals.Requests.Load())
	if failed == 0 {
		t.Fatal("round robin never asked the second backend")
	}
	r := registry(t)
	wantMetrics(t, r, map[string]float64{
		"pool_requests_total{pool=t}":                      4,
		"pool_responses_total{pool=t,code=2xx}":            4,
		"pool_responses_total{pool=t,code=5xx}":            0,
		"pool_success_ratio{pool=t}":                       1,
		"pool_error_ratio{pool=t}":                         0,
		"pool_attempts_total{pool=t}":                      4 + failed,
		"pool_retries_total{pool=t}":                       failed,
		"pool_attempt_failures_total{reason=server_error}": failed,
		"pool_backends{state=serving}":                     2,
		"pool_received_bytes_total{pool=t}":                4 * 5,
		"pool_requests_in_progress{pool=t}":                0,
		"pool_panic{pool=t}":                               0,
		"pool_outage{pool=t}":                              0,

		"backend_requests_total{backend=" + good.addr + "}":              4,
		"backend_responses_total{code=2xx,backend=" + good.addr + "}":    4,
		"backend_responses_total{code=5xx,backend=" + bad.addr + "}":     failed,
		"backend_failures_total{reason=server_error,backend=" + bad.addr: failed,
		"backend_state{state=serving,backend=" + bad.addr + "}":          1,
		"backend_state{state=ejected,backend=" + bad.addr + "}":          0,
		"backend_share_ratio{backend=" + good.addr + "}":                 4 / (4 + failed),
		"backend_success_ratio{backend=" + bad.addr + "}":                0,
		"backend_received_bytes_total{backend=" + good.addr + "}":        4 * 5,
		"backend_weight{backend=" + good.addr + "}":                      1,
		"backend_first_byte_seconds{backend=" + good.addr + "}":          4,
		"backend_response_seconds{backend=" + good.addr + "}":            4,
		"backend_health_score{backend=" + good.addr + "}":                100,
		"backend_canceled_total{backend=" + good.addr + "}":              0,
	})
	if v, _ := gathered(t, r, "pool_response_mean_seconds", "pool=t"); v <= 0 {
		t.Errorf("mean response time is %v, four requests took some", v)
	}
	if v, _ := gathered(t, r, "backend_health_score", "backend="+bad.addr); v >= 50 {
		t.Errorf("health of a backend that only fails is %v", v)
	}
}

func TestMetricsSurviveAReload(t *testing.T) {
	one, two := serve(t, say("one")), serve(t, say("two"))
	s, p := startPool(t, "", one, two)
	for range 6 {
		s.get("/")
	}
	idle(t, p)
	before := float64(p.Get(one.addr).Totals.Requests.Load())
	// The second backend leaves the pool, which must not take from the pool's totals.
	reload := "lbpro " + one.addr + " {\n\tpool t\n\tretry {\n\t\tattempts 2\n\t}\n}"
	if err := caddy.Load(adapt(t, config(s.addr, reload)), true); err != nil {
		t.Fatal(err)
	}
	s.get("/").want(t, http.StatusOK, "one")
	idle(t, p)
	eventually(t, "the second backend has left", func() bool { return p.Get(two.addr) == nil })
	ctx := caddy.ActiveContext()
	wantMetrics(t, ctx.GetMetricsRegistry(), map[string]float64{
		"backend_requests_total{backend=" + one.addr + "}":   before + 1,
		"backend_response_seconds{backend=" + one.addr + "}": before + 1,
		"pool_requests_total{pool=t}":                        7,
		"pool_attempts_total{pool=t}":                        7,
	})
	if _, ok := gathered(t, registry(t), "backend_requests_total", "backend="+two.addr); ok {
		t.Error("a backend that has left still has metrics")
	}
}

func TestHealthChecksAreNotTraffic(t *testing.T) {
	up := serve(t, say("up"))
	_, p := startPool(t, "health_uri /health\n\thealth_interval 5ms", up)
	eventually(t, "the backend was checked", func() bool { return up.hits.Load() >= 3 })
	idle(t, p)
	wantMetrics(t, registry(t), map[string]float64{
		"backend_requests_total{backend=" + up.addr + "}": 0,
		"pool_requests_total{pool=t}":                     0,
	})
}

func TestMetricsPassTheLinter(t *testing.T) {
	s, _ := startPool(t, "", serve(t, say("x")))
	s.get("/")
	problems, err := testutil.GatherAndLint(registry(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestMetricLabelsAreFromConfigurationOnly(t *testing.T) {
	s, p := startPool(t, "", serve(t, say("x")))
	for _, path := range []string{"/one", "/two?x=y", "/three"} {
		s.get(path)
	}
	idle(t, p)
	families, err := registry(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string][]string{
		"pool": {"t"}, "backend": {p.Backends()[0].ID},
		"code": {"1xx", "2xx", "3xx", "4xx", "5xx"},
	}
	for _, x := range states {
		known["state"] = append(known["state"], x.String())
	}
	for o := balance.Success; o <= balance.Outrun; o++ {
		known["reason"] = append(known["reason"], o.String())
	}
	for _, x := range balance.Reasons {
		known["reason"] = append(known["reason"], string(x))
	}
	for _, f := range families {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if !slices.Contains(known[l.GetName()], l.GetValue()) {
					t.Errorf("%s has the label %s=%q", f.GetName(), l.GetName(), l.GetValue())
				}
			}
		}
	}
}

// The table of docs/metrics.md lists every metric with its labels and help, and nothing
// else.
func TestMetricsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	row := func(name, kind, help string, labels ...string) {
		want = append(want, "| `caddy_lbpro_"+name+"` | "+kind+" | "+strings.Join(labels, ", ")+" | "+help+" |")
	}
	kinds := map[prometheus.ValueType]string{counterValue: "counter", gaugeValue: "gauge"}
	add := func(name, help, label string, kind prometheus.ValueType, labels ...string) {
		if label != "" {
			labels = append(labels, label)
		}
		row(name, kinds[kind], help, labels...)
	}
	for _, m := range poolMetrics {
		add(m.name, m.help, m.label, m.kind, "pool")
	}
	for _, m := range backendMetrics {
		add(m.name, m.help, m.label, m.kind, "pool", "backend")
	}
	for _, m := range backendHistograms {
		row(m.name, "histogram", m.help, "pool", "backend")
	}
	var have []string
	for line := range bytes.Lines(text) {
		if l := strings.TrimSpace(string(line)); strings.HasPrefix(l, "| `caddy_lbpro_") {
			have = append(have, l)
		}
	}
	for _, w := range want {
		if !slices.Contains(have, w) {
			t.Errorf("docs/metrics.md lacks: %s", w)
		}
	}
	for _, h := range have {
		if !slices.Contains(want, h) {
			t.Errorf("docs/metrics.md has what the code has not: %s", h)
		}
	}
}

// The example of a backend in docs/metrics.md has no key that the API does not have.
func TestExampleIsOfTheAPI(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatal("there is no example")
	}
	dec := json.NewDecoder(bytes.NewReader(m[1]))
	dec.DisallowUnknownFields()
	var b backendResource
	if err := dec.Decode(&b); err != nil {
		t.Fatal(err)
	}
	if b.State != balance.Ejected.String() || b.Until == nil || b.Why == "" {
		t.Errorf("the example is %+v", b)
	}
}
