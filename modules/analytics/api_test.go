package analytics

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// fakeServer is another app: it answers with a text by path.
type fakeServer map[string]string

func (f fakeServer) ServeAPI(w http.ResponseWriter, r *http.Request) error {
	text, ok := f[r.URL.RequestURI()]
	if !ok {
		return caddy.APIError{HTTPStatus: 404, Err: fmt.Errorf("no %s here", r.URL.RequestURI())}
	}
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write([]byte(text))
	return err
}

const fakePools = `{"pools": [
	{"name": "app", "serving": 1, "active_requests": 3, "last_minute": {"requests": 60, "requests_per_second": 1, "error_rate": 0.1, "average_response_seconds": 0.5},
	 "totals": {"requests": 100, "responses": {"2xx": 90, "5xx": 10}},
	 "backends": [
		{"id": "a:1", "state": "serving", "since": "2026-05-01T12:00:00Z", "in_flight": 1, "share": 0.75, "health": {"score": 100}, "weight": {"effective": 1}, "last_minute": {"requests_per_second": 0.75}},
		{"id": "b:1", "state": "ejected", "reason": "latency", "since": "2026-05-01T12:00:00Z", "in_flight": 3, "share": 0.25, "health": {"score": 20}}]},
	{"name": "web", "serving": 1, "last_minute": {"requests": 20, "requests_per_second": 3, "error_rate": 0, "average_response_seconds": 0.1},
	 "totals": {"requests": 20, "responses": {"2xx": 20}},
	 "backends": [{"id": "c:1", "state": "serving", "since": "2026-05-01T12:00:00Z", "health": {"score": 90}}]}]}`

func TestStats(t *testing.T) {
	withApps(t, map[string]any{"lbpro": fakeServer{"/lbpro/pools": fakePools}, "analytics": &fakeEngine{}})
	c := startAPICaddy(t, "", "analytics_api")
	var a statsAnswer
	r := c.get("/api/stats", 200, &a)
	if got := a.Totals; got.Requests != 120 || got.Responses["2xx"] != 110 || got.PerSecond != 4 || *got.Average != (60*0.5+20*0.1)/80 ||
		got.ErrorRate != 6./80 || *got.Health != 70 || got.Backends != 3 || got.Serving != 2 || got.Active != 3 {
		t.Errorf("totals: %s", r.body)
	}
	if got := a.Pools[0]; got.Name != "app" || *got.Health != 60 || got.ErrorRate != 0.1 {
		t.Errorf("pool: %+v", got)
	}
	if got := a.Backends[1]; got.Pool != "app" || got.ID != "b:1" || got.State != "ejected" || got.Reason != "latency" || got.Health != 20 {
		t.Errorf("backend: %+v", got)
	}
	if got := a.Connections[0]; got.Total != 4 || got.Backends[0] != (statsConnection{"b:1", 3, 0.75}) {
		t.Errorf("connections: %+v", got)
	}
	if a.Analytics != "degraded" || a.AnalyticsReason != "store: full" || a.AnalyticsStatus == nil || a.Balancer != "running" || time.Since(a.Time) > time.Minute {
		t.Errorf("states: %s", r.body)
	}
	var admin statsAnswer
	c.getAdmin("/analytics/stats", 200, &admin)
	if admin.Time = a.Time; !reflect.DeepEqual(admin, a) {
		t.Errorf("the admin API says %+v", admin)
	}
	if r := c.get("/api/lbpro/pools", 200, nil); r.body != fakePools {
		t.Errorf("pools: %s", r.body)
	}
	c.get("/api/flows/summary", 503, nil).mentions(t, "flowmaster")
}

// Without the engine, and without the balancer, the rest answers and says what to do.
func TestStatsWithoutTheRest(t *testing.T) {
	withApps(t, nil)
	c := startAPICaddy(t, "", "analytics_api")
	var a statsAnswer
	c.get("/api/stats", 200, &a)
	if a.Analytics != "unavailable" || !strings.Contains(a.AnalyticsReason, "`analytics`") || a.Balancer != "unavailable" || a.Totals.Backends != 0 {
		t.Errorf("%+v", a)
	}
	c.get("/api/analytics/status", 503, nil).mentions(t, "switched on")
	var p promAnswer
	c.get("/api/v1/query?query=up", 503, &p)
	if p.ErrorType != "unavailable" || !strings.Contains(p.Error, "switched on") {
		t.Errorf("%+v", p)
	}
}

// Names go to the other app as they came, whatever is in them.
func TestRelay(t *testing.T) {
	withApps(t, map[string]any{"lbpro": fakeServer{"/lbpro/pools/a%2Fb%20c": `{"name":"a/b c"}`}, "flowmaster": fakeServer{"/flowmaster/top?n=3": `{}`}})
	c := startAPICaddy(t, "", "analytics_api")
	c.get("/api/lbpro/pools/a%2fb%20c", 200, nil)
	c.get("/api/lbpro/pools/..%2f..%2fconfig", 404, nil).mentions(t, "no /lbpro/pools/..%2F..%2Fconfig here")
	c.get("/api/flows/top?n=3", 200, nil)
	c.getAdmin("/analytics/flows/top?n=3", 200, nil)
}

func TestAPIDispatch(t *testing.T) {
	withApps(t, map[string]any{"analytics": &fakeEngine{}})
	c := startAPICaddy(t, "", "analytics_api\nrespond other 299")
	c.get("/api/nothing", 404, nil).mentions(t, "/api/stats", "/api/v1/query", "/api/analytics/status")
	c.get("/api/stats/more", 404, nil)
	c.get("/apis", 299, nil)
	c.get("/", 299, nil)
	c.get("/api/stats?pool=a", 400, nil).mentions(t, `"pool"`)
	if r := c.ask("POST", c.site+"/api/stats", "a=b", nil).check(t, "POST", 405, nil); r.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("Allow: %q", r.Header.Get("Allow"))
	}
	c.ask("DELETE", c.site+"/api/v1/query", "", nil).check(t, "DELETE", 405, nil).mentions(t, "use GET or POST")
	var index indexAnswer
	r := c.get("/api", 200, &index)
	if len(index.Resources) != len(resources) || r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%v %s", r.Header, r.body)
	}
	for _, path := range []string{"/analytics/", "/analytics/api", "/analytics/api/"} {
		if got := c.getAdmin(path, 200, nil); got.body != r.body {
			t.Errorf("%s: %s", path, got.body)
		}
	}
	for _, path := range []string{"/analytics/status", "/analytics/analytics/status", "/analytics/api/analytics/status", "/analytics/status/"} {
		if got := c.getAdmin(path, 200, nil); !strings.Contains(got.body, phaseDegraded) {
			t.Errorf("%s: %s", path, got.body)
		}
	}
	c.getAdmin("/analytics/nothing", 404, nil).mentions(t, "/api/stats")
}

// panicking is an app of which something goes wrong.
type panicking struct{}

func (panicking) ServeAPI(http.ResponseWriter, *http.Request) error { panic("a secret") }

func TestAPIPanic(t *testing.T) {
	withApps(t, map[string]any{"lbpro": panicking{}})
	c := startAPICaddy(t, "", "analytics_api")
	if r := c.get("/api/stats", 500, nil); strings.Contains(r.body, "secret") {
		t.Errorf("the client is told %s", r.body)
	}
	c.get("/api", 200, nil)
}

// FuzzParams feeds the parser of requests: it takes nothing that the caller could not use.
func FuzzParams(f *testing.F) {
	withApps(f, map[string]any{"analytics": &fakeEngine{}})
	for _, s := range []string{"v1/query?time=1e9&step=5m", "analytics/status?a=%zz", "v1/label/%ff/values?start=-1e300&end=NaN", "?=&&;", "v1/series?match[]={a=\"b\"}&limit=9999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		path, query, _ := strings.Cut(target, "?")
		if _, names, err := findResource(path); err == nil {
			for name, value := range names {
				if name == "" || value == "" {
					t.Errorf("%q: name %q is %q", path, name, value)
				}
			}
		}
		r, err := http.NewRequest("GET", "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.RawQuery = query
		form, err := readForm(nil, r)
		if err != nil {
			if s := statusOf(err); s < 400 || s > 499 {
				t.Errorf("%q: status %d", query, s)
			}
			return
		}
		c := &call{r: r, form: form}
		for name := range form {
			if at, err := c.time(name, apiEpoch); err == nil && (at.Before(minAPITime) || at.After(maxAPITime)) {
				t.Errorf("%q: time %v", query, at)
			} else if err == nil {
				if _, err := json.Marshal(at); err != nil {
					t.Errorf("%q: %v", query, err)
				}
			}
			if d, err := c.duration(name, 1); err == nil && d <= 0 {
				t.Errorf("%q: duration %v", query, d)
			}
			if n, err := c.number(name, 5, 1, 10); err == nil && (n < 1 || n > 10) {
				t.Errorf("%q: number %d", query, n)
			}
			_, _ = c.flag(name)
		}
		_, _ = c.matchers()
		if expr, _, err := c.expression(); err == nil {
			if err := checkRange(expr, apiEpoch, apiEpoch); err != nil && statusOf(err) != 422 {
				t.Errorf("%q: %v", query, err)
			}
			_ = unwrap(expr)
		}
	})
}
