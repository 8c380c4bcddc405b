package analytics

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	_ "github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster"
	_ "github.com/caddy-lbpro/caddy-lbpro/modules/lbpro"
)

// liveOptions collect every second, and watch two gauges that a test plants, and a target
// that wants a password.
func liveOptions(target string) string {
	return fmt.Sprintf(`	flowmaster
	analytics {
		collect_interval 1s
		analyze_interval 1s
		store memory
		source scrape guarded %s {
			basic_auth ann a-secret-word
		}
		pipeline planted {
			signal cause planted_cause
			signal effect planted_effect seconds down
		}
		pipeline guarded {
			source guarded
			signal up up{job="guarded"}
		}
	}`, target)
}

// plant puts an hour of a cause and its effect, four seconds later, into the store of the
// engine that runs.
func plant(t *testing.T) {
	t.Helper()
	e, s, err := openStore()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := e.(*App); !ok {
		t.Fatalf("the engine is %T", e)
	}
	rng := rand.New(rand.NewPCG(7, 8))
	app := s.AppenderV2(t.Context())
	put := func(name string, at time.Time, v float64) {
		if _, err := app.Append(0, labels.FromStrings("__name__", name, "backend", "a"), 0, at.UnixMilli(), v, nil, nil, storage.AOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	const seconds, lag = 3500, 4
	start := time.Now().Truncate(time.Second).Add(-seconds * time.Second)
	causes := make([]float64, seconds)
	for i := range seconds {
		causes[i] = rng.NormFloat64()
		at := start.Add(time.Duration(i) * time.Second)
		put("planted_cause", at, causes[i])
		if i >= lag {
			put("planted_effect", at, causes[i-lag]+0.5*rng.NormFloat64())
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}

// The whole, with the real engine, balancer and Prometheus' tools.
func TestLive(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	defer backend.Close()
	upstream := strings.TrimPrefix(backend.URL, "http://")
	guarded := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "a-secret-word" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, "guarded_value 1\n")
	}))
	defer guarded.Close()
	options := liveOptions(strings.TrimPrefix(guarded.URL, "http://"))
	site := "analytics_api\nlbpro " + upstream + " {\n\tpool app\n}"
	c := startAPICaddy(t, options, site)
	traffic := func(n int) {
		t.Helper()
		for range n {
			c.get("/", 200, nil)
		}
	}
	traffic(20)

	// It comes up by itself, and a check from end to end passes.
	apiEventually(t, "the engine runs", func() bool {
		var a statsAnswer
		c.get("/api/stats", 200, &a)
		return a.Analytics == phaseRunning
	})
	plant(t)
	out, err := runAnalytics(t, "check", "--wait", "1m", "--address", c.admin)
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, step := range []string{"engine", "module lbpro", "module flowmaster", "source registry", "source guarded", "pipeline balancer", "pipeline planted", "store", "query", "correlation"} {
		if !strings.Contains(out, "passed   "+step) {
			t.Errorf("it does not print that %s passed:\n%s", step, out)
		}
	}
	if out, err := runAnalytics(t, "status", "--address", c.admin); err != nil || !strings.Contains(out, "balancer") {
		t.Errorf("status: %v\n%s", err, out)
	}

	// The balancer's figures are in the statistics and in the store.
	var a statsAnswer
	c.get("/api/stats", 200, &a)
	if a.Totals.Requests < 20 || len(a.Backends) != 1 || a.Backends[0].ID != upstream || a.Backends[0].Health != 100 || a.AnalyticsStatus == nil {
		t.Errorf("stats: %+v", a)
	}
	var m metricsAnswer
	c.get("/api/analytics/metrics?pipeline=balancer", 200, &m)
	if len(m.Signals) == 0 {
		t.Error("no signals of the balancer")
	}

	// What was planted is found, with sign and lag, in the past too.
	var found correlationAnswer
	r := c.get("/api/analytics/correlation?series=planted&step=1s&max_lag=30s", 200, &found)
	if len(found.Pairs) != 1 {
		t.Fatalf("correlation: %s", r.body)
	}
	p := found.Pairs[0]
	lag := p.LagSeconds
	if strings.HasPrefix(p.Y, "planted:cause") {
		lag = -lag
	}
	if lag != 4 || p.R < 0.7 {
		t.Errorf("the effect follows by %v s with %v: %s", lag, p.R, r.body)
	}
	// As many points as Grafana asks for at most, and one more.
	c.get("/api/v1/query_range?query=up&start=0&end=11000&step=1", 200, nil)
	c.get("/api/v1/query_range?query=up&start=0&end=11001&step=1", 422, nil).mentions(t, "max_points")
	c.get("/api/analytics/summary", 200, nil)
	c.get("/api/analytics/trends", 200, nil)
	c.get("/api/analytics/compare?all", 200, nil)
	for _, name := range []string{"status", "summary?window=1m", "top?by=backend", "connections", "exporters", "host"} {
		c.get("/api/flows/"+name, 200, nil)
	}
	c.get("/api/flows/top?by=nothing", 400, nil).mentions(t, "backend")
	c.get("/api/lbpro/pools/app", 200, nil)
	c.get("/api/lbpro/pools/nothing", 404, nil).mentions(t, `"app"`)
	liveSecrets(t, c)
	livePrometheus(t, c, traffic)
	liveReload(t, c, options, site)

	// Without the engine the balancer and its statistics go on.
	if err := c.load("", site); err != nil {
		t.Fatal(err)
	}
	traffic(1)
	c.get("/api/stats", 200, &a)
	if a.Analytics != stateUnavailable || a.AnalyticsReason == "" || a.Totals.Requests < 21 {
		t.Errorf("without the engine: %+v", a)
	}
	c.get("/api/v1/query?query=up", 503, nil)
}

// liveSecrets looks for the password in everything that is served.
func liveSecrets(t *testing.T, c *apiCaddy) {
	t.Helper()
	for _, res := range resources {
		if strings.Contains(res.path, "{") || res.path == "analytics/stream" {
			continue
		}
		path := "/api/" + res.path
		if r := c.ask("GET", c.site+path, "", nil); strings.Contains(r.body, "a-secret-word") {
			t.Errorf("%s shows a password: %s", path, r.body)
		}
	}
}

// livePrometheus has Prometheus scrape the metrics, and promtool ask both.
func livePrometheus(t *testing.T, c *apiCaddy, traffic func(int)) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Log("promtool is not installed: not compared with Prometheus")
		return
	}
	if _, err := exec.LookPath("prometheus"); err != nil {
		t.Log("prometheus is not installed: not compared with it")
		return
	}
	prometheus := startPrometheus(t, fmt.Sprintf("global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: caddy\n  static_configs:\n  - targets: [%q]\n", c.admin), t.TempDir())
	traffic(5)
	ask := func(server, expr string) string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, "promtool", "query", "instant", server, expr).CombinedOutput()
		if err != nil {
			t.Fatalf("promtool: %v\n%s", err, out)
		}
		text, _, _ := bytes.Cut(out, []byte(" @["))
		return string(text)
	}
	const expr = "sum by (pool, backend) (caddy_lbpro_backend_requests_total)"
	var theirs, ours string
	apiEventually(t, "both have the same", func() bool {
		theirs, ours = ask("http://"+prometheus, expr), ask("http://"+c.site, expr)
		return theirs != "" && theirs == ours && ours == ask("http://"+c.admin+"/analytics", expr)
	})
	if !strings.Contains(ours, `pool="app"`) {
		t.Errorf("promtool prints %q", ours)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lint := exec.CommandContext(ctx, "promtool", "check", "metrics")
	lint.Stdin = strings.NewReader(ownMetrics(c.getAdmin("/metrics", 200, nil).body))
	if out, err := lint.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	// Federation the other way: the scraped metrics have the API's own.
	apiEventually(t, "the API's own metrics are scraped", func() bool {
		return strings.Contains(ask("http://"+prometheus, `caddy_analytics_api_requests_total{resource="/api/stats"}`), "/api/stats")
	})
}

// liveReload asks all the time while the configuration is loaded again and again.
func liveReload(t *testing.T, c *apiCaddy, options, site string) {
	t.Helper()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	bad := make(chan string, 100)
	for _, path := range []string{"/api/stats", "/api/analytics/status", "/api/v1/query?query=" + url.QueryEscape("count(up)")} {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
			for {
				select {
				case <-stop:
					return
				default:
				}
				res, err := client.Get("http://" + c.site + path)
				if err != nil {
					continue // while listeners are swapped the kernel may reset a connection
				}
				var v any
				err = json.NewDecoder(res.Body).Decode(&v)
				res.Body.Close()
				// The new engine may not have opened its store yet.
				if err != nil || res.StatusCode != 200 && res.StatusCode != 503 {
					select {
					case bad <- fmt.Sprintf("%s: %d %v %v", path, res.StatusCode, v, err):
					default:
					}
				}
			}
		})
	}
	lines := openStream(t, "http://"+c.site+"/api/analytics/stream")
	for i := range 5 {
		if err := c.load(options, site+"\nheader X-Config "+strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	streamEnds(t, lines)
	close(stop)
	wg.Wait()
	close(bad)
	for b := range bad {
		t.Error(b)
	}
	// What was collected before is still there.
	apiEventually(t, "the store is open again", func() bool {
		return c.ask("GET", c.site+"/api/v1/query?query=up", "", nil).StatusCode == 200
	})
	var v promAnswer
	c.get("/api/v1/query?query="+url.QueryEscape("count_over_time(planted_cause[1h])"), 200, &v)
	if !strings.Contains(string(v.Data), `"metric"`) {
		t.Errorf("after reloads the store has %s", v.Data)
	}
}

// ownMetrics is what of an exposition is the engine's.
func ownMetrics(text string) string {
	var own strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, "caddy_analytics_") {
			own.WriteString(line)
		}
	}
	return own.String()
}
