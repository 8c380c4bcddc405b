package lbpro

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// adminSite is a site together with Caddy's admin API.
type adminSite struct {
	*site
	admin *site
}

// startAdmin runs Caddy with the directives and the admin API until the test ends.
func startAdmin(t *testing.T, directives string) adminSite {
	t.Helper()
	s := adminSite{&site{t: t, addr: freeAddr(t)}, &site{t: t, addr: freeAddr(t)}}
	s.URL, s.admin.URL = "http://"+s.addr, "http://"+s.admin.addr
	s.load(t, directives)
	t.Cleanup(func() {
		// Stop alone leaves the admin API running.
		if err := errors.Join(caddy.Load([]byte(nothing), true), caddy.Stop()); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	return s
}

func (s adminSite) load(t *testing.T, directives string) {
	t.Helper()
	text := strings.Replace(config(s.addr, directives), "admin off", "admin "+s.admin.addr, 1)
	if err := caddy.Load(adapt(t, text), true); err != nil {
		t.Fatalf("loading: %v", err)
	}
}

// do sends a request to the admin API and decodes the answer into v, if it is not nil.
func (s adminSite) do(method, path, body string, code int, v any) reply {
	s.t.Helper()
	r := s.admin.send(s.admin.request(method, path, strings.NewReader(body)))
	if r.StatusCode != code {
		s.t.Fatalf("%s %s %s: status %d, want %d: %s", method, path, body, r.StatusCode, code, r.body)
	}
	if v != nil {
		reflect.ValueOf(v).Elem().SetZero()
		if err := json.Unmarshal([]byte(r.body), v); err != nil {
			s.t.Fatalf("%s %s: %v: %s", method, path, err, r.body)
		}
	}
	return r
}

// fails checks an error of the admin API.
func (s adminSite) fails(method, path, body string, code int, mention ...string) reply {
	s.t.Helper()
	var e struct {
		Error string `json:"error"`
	}
	r := s.do(method, path, body, code, &e)
	for _, m := range mention {
		if !strings.Contains(e.Error, m) {
			s.t.Errorf("%s %s %s: error %q does not mention %q", method, path, body, e.Error, m)
		}
	}
	return r
}

type acted struct {
	Message string
	Backend backendResource
}

func TestAdminShowsPools(t *testing.T) {
	one, two := serve(t, say("one")), serve(t, say("two"))
	s := startAdmin(t, fmt.Sprintf("lbpro %s %s {\n\tpool t\n}", one.addr, two.addr))
	for range 10 {
		s.get("/")
	}
	idle(t, poolNamed(t, "t"))

	var list struct{ Pools []poolResource }
	s.do("GET", "/lbpro/pools", "", 200, &list)
	if len(list.Pools) != 1 || list.Pools[0].Name != "t" || len(list.Pools[0].Backends) != 2 {
		t.Fatalf("pools: %+v", list)
	}
	var p poolResource
	s.do("GET", "/lbpro/pools/t/", "", 200, &p)
	if p.Serving != 2 || p.Totals.Requests != 10 || p.Totals.Responses["2xx"] != 10 || p.LastMinute.SuccessRate != 1 || p.LastMinute.P99 == nil {
		t.Errorf("pool: %+v", p)
	}
	var b backendResource
	r := s.do("GET", "/lbpro/pools/t/backends/"+one.addr, "", 200, &b)
	if b.ID != one.addr || b.State != "serving" || b.Health.Score != 100 || !b.Score.Takes || b.Why == "" || b.LastError != nil {
		t.Errorf("backend: %s", r.body)
	}
	if age := time.Since(b.Since); age < 0 || age > patience {
		t.Errorf("it has been serving since %v, which is %v ago", b.Since, age)
	}
	var sub struct{ Backends []backendResource }
	s.do("GET", "/lbpro/pools/t/backends", "", 200, &sub)
	if n := len(sub.Backends); n != 2 {
		t.Errorf("%d backends, want 2", n)
	}
	if p.Backends[0].Share+p.Backends[1].Share < 0.999 {
		t.Errorf("shares %v and %v do not add up", p.Backends[0].Share, p.Backends[1].Share)
	}
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %q", got)
	}
	s.do("HEAD", "/lbpro/pools", "", 200, nil)
}

func TestAdminTellsWhyABackendIsOut(t *testing.T) {
	good, bad := serve(t, say("good")), serve(t, status(500))
	s := startAdmin(t, fmt.Sprintf("lbpro %s %s {\n\tpool t\n\tpolicy round_robin\n}", good.addr, bad.addr))
	var b backendResource
	eventually(t, "the failing backend is ejected", func() bool {
		s.get("/").want(t, 200, "good")
		return poolNamed(t, "t").Get(bad.addr).State() == balance.Ejected
	})
	s.do("GET", "/lbpro/pools/t/backends/"+bad.addr, "", 200, &b)
	if b.State != "ejected" || b.Reason == "" || b.Detail == "" || b.Until == nil || b.Score.Takes {
		t.Errorf("state %q, reason %q, detail %q, until %v, takes %v", b.State, b.Reason, b.Detail, b.Until, b.Score.Takes)
	}
	if b.LastError == nil || b.LastError.Text != "status 500" || b.LastError.At.After(time.Now()) {
		t.Errorf("last error: %+v", b.LastError)
	}
	if b.Totals.Failures["server_error"] == 0 || len(b.Totals.Ejections) == 0 {
		t.Errorf("totals: %+v", b.Totals)
	}
}

func TestAdminActionsMoveTraffic(t *testing.T) {
	one, two := serve(t, say("one")), serve(t, say("two"))
	directives := fmt.Sprintf("lbpro %s %s {\n\tpool t\n\tslow_start off\n}", one.addr, two.addr)
	s := startAdmin(t, directives)
	only := func(body string) {
		t.Helper()
		for range 20 {
			s.get("/").want(t, 200, body)
		}
	}
	both := func() {
		t.Helper()
		seen := map[string]bool{}
		eventually(t, "both backends are asked", func() bool {
			seen[s.get("/").body] = true
			return len(seen) == 2
		})
	}
	at := "/lbpro/pools/t/backends/" + one.addr
	var a acted

	both()
	s.do("POST", at+"/drain", `{"deadline_seconds": 90, "reason": "deploy of 1.2"}`, 200, &a)
	if a.Backend.State != "draining" || a.Backend.Drain == nil || a.Backend.Drain.StickyUntil == nil || !strings.Contains(a.Backend.Detail, "deploy of 1.2") {
		t.Errorf("drained: %+v", a)
	}
	only("two")
	s.load(t, strings.Replace(directives, "slow_start off", "slow_start off\n\thedge off", 1))
	only("two") // a drain survives a reload
	s.do("POST", at+"/undrain", "", 200, &a)
	both()
	s.do("POST", at+"/undrain", "{}", 200, &a)
	if !strings.Contains(a.Message, "was not draining") {
		t.Errorf("a second undrain: %q", a.Message)
	}

	s.do("POST", at+"/weight", `{"weight": 0}`, 200, &a)
	if a.Backend.Weight.Operator == nil || *a.Backend.Weight.Operator != 0 {
		t.Errorf("weight: %+v", a.Backend.Weight)
	}
	only("two")
	s.do("POST", at+"/weight", `{"clear": true}`, 200, &a)
	if a.Backend.Weight.Operator != nil || a.Backend.Weight.Effective != 1 {
		t.Errorf("weight after clear: %+v", a.Backend.Weight)
	}
	both()

	s.do("POST", at+"/eject", `{"duration_seconds": 3600}`, 200, &a)
	if a.Backend.State != "ejected" || a.Backend.Reason != "operator" || a.Backend.Until == nil || time.Until(*a.Backend.Until) < 59*time.Minute {
		t.Errorf("ejected: %+v", a.Backend)
	}
	only("two")
	s.do("POST", at+"/restore", "", 200, &a)
	both()
}

func TestAdminGuardsTheLastBackend(t *testing.T) {
	one := serve(t, say("one"))
	s := startAdmin(t, fmt.Sprintf("lbpro %s {\n\tpool t\n}", one.addr))
	at := "/lbpro/pools/t/backends/" + one.addr
	s.fails("POST", at+"/eject", `{}`, 409, "no other backend", `"force": true`)
	s.get("/").want(t, 200, "one")
	s.do("POST", at+"/eject", `{"force": true}`, 200, nil)
	s.do("POST", at+"/restore", ``, 200, nil)
	var a acted
	s.do("POST", at+"/drain", ``, 200, &a)
	if !strings.Contains(a.Message, "only backend") {
		t.Errorf("draining the only backend says %q", a.Message)
	}
	if r := s.get("/"); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
		t.Errorf("with the only backend drained the answer is %d, Retry-After %q", r.StatusCode, r.Header.Get("Retry-After"))
	}
	s.fails("POST", at+"/eject", `{}`, 409, "undrain")
	s.fails("POST", at+"/restore", ``, 409, "undrain")
}

func TestAdminRefusesWhatIsWrong(t *testing.T) {
	one, two := serve(t, say("one")), serve(t, say("two"))
	s := startAdmin(t, fmt.Sprintf("lbpro %s %s {\n\tpool t\n}", one.addr, two.addr))
	at := "/lbpro/pools/t/backends/" + one.addr
	for _, c := range []struct {
		method, path, body string
		code               int
		mention            []string
	}{
		{"GET", "/lbpro/pools/x", "", 404, []string{`"x"`, `"t"`}},
		{"GET", "/lbpro/pools/t/backends/nobody:1", "", 404, []string{one.addr, two.addr}},
		{"POST", "/lbpro/pools/t/backends/nobody:1/drain", "", 404, []string{one.addr, two.addr}},
		{"POST", "/lbpro/pools/x/backends/y/drain", "", 404, []string{`"t"`}},
		{"POST", at + "/explode", "", 404, []string{"drain, undrain, weight, eject and restore"}},
		{"GET", "/lbpro/", "", 404, []string{"/lbpro/pools"}},
		{"GET", "/lbpro/pools/t/servers/x", "", 404, nil},
		{"GET", "/lbpro/pools/t/backends/x/y/z", "", 404, nil},
		{"DELETE", "/lbpro/pools/t", "", 405, []string{"GET"}},
		{"GET", at + "/drain", "", 405, []string{"POST"}},
		{"POST", at + "/drain", `{"dead_line": 1}`, 400, []string{"dead_line"}},
		{"POST", at + "/drain", `{"deadline_seconds": -1}`, 400, []string{"deadline_seconds"}},
		{"POST", at + "/drain", `{"deadline_seconds": 1e300}`, 400, []string{"deadline_seconds"}},
		{"POST", at + "/drain", `{"deadline_seconds": "5s"}`, 400, nil},
		{"POST", at + "/drain", `{} {}`, 400, []string{"more after"}},
		{"POST", at + "/drain", `{"reason": "` + strings.Repeat("x", 201) + `"}`, 400, []string{"200"}},
		{"POST", at + "/drain", `{"reason": "\u001b[2J"}`, 400, []string{"printed"}},
		{"POST", at + "/drain", `{"reason": "` + strings.Repeat("x", 5000) + `"}`, 413, nil},
		{"POST", at + "/weight", ``, 400, []string{"weight"}},
		{"POST", at + "/weight", `{"weight": 1, "clear": true}`, 400, []string{"either"}},
		{"POST", at + "/weight", `{"weight": -0.5}`, 400, []string{"0 to 1000000"}},
		{"POST", at + "/weight", `{"weight": 1e7}`, 400, []string{"0 to 1000000"}},
		{"POST", at + "/eject", `{"duration_seconds": 0}`, 400, []string{"duration_seconds"}},
		{"POST", at + "/undrain", `{"reason": "x"}`, 400, []string{"reason"}},
	} {
		r := s.fails(c.method, c.path, c.body, c.code, c.mention...)
		if c.code == 405 && !strings.Contains(r.Header.Get("Allow"), c.mention[0]) {
			t.Errorf("%s %s: Allow is %q", c.method, c.path, r.Header.Get("Allow"))
		}
	}
	for _, b := range poolNamed(t, "t").Backends() {
		if b.State() != balance.Serving || b.Weight() != 1 {
			t.Errorf("%s was changed by a refused action: %v, weight %v", b.ID, b.State(), b.Weight())
		}
	}
}

func TestAdminTakesEscapedNames(t *testing.T) {
	one := serve(t, say("one"))
	s := startAdmin(t, fmt.Sprintf("lbpro %s unix//run/app//a b.sock {\n\tpool \"web/api %%2F ü\"\n}", one.addr))
	id := poolNamed(t, "web/api %2F ü").Backends()
	for _, b := range id {
		var x backendResource
		s.do("GET", "/lbpro/pools/"+url.PathEscape("web/api %2F ü")+"/backends/"+url.PathEscape(b.ID), "", 200, &x)
		if x.ID != b.ID {
			t.Errorf("asked for %q, got %q", b.ID, x.ID)
		}
	}
}

func TestAdminWorksWithoutPoolsAndAfterTheyAreGone(t *testing.T) {
	s := startAdmin(t, "respond hello")
	var list struct{ Pools []poolResource }
	if r := s.do("GET", "/lbpro/pools", "", 200, &list); !strings.Contains(r.body, `"pools":[]`) {
		t.Errorf("without pools: %s", r.body)
	}
	s.fails("GET", "/lbpro/pools/t", "", 404, "there is no pool")
	s.load(t, "lbpro "+serve(t, say("x")).addr+" {\n\tpool t\n}")
	s.do("GET", "/lbpro/pools/t", "", 200, nil)
	s.load(t, "respond hello")
	eventually(t, "the pool is gone", func() bool { return len(allPools()) == 0 })
	s.fails("GET", "/lbpro/pools/t", "", 404)

	// A reload that fails must leave the API on the pools that are in use.
	s.load(t, "lbpro "+serve(t, say("x")).addr+" {\n\tpool t\n}")
	broken := strings.Replace(config(s.addr, "lbpro /a 127.0.0.1:1 {\n\tpool u\n}\nlbpro 127.0.0.1:1 {\n\tpool u\n\tpanic_threshold 0.1\n}"), "admin off", "admin "+s.admin.addr, 1)
	if err := caddy.Load(adapt(t, broken), true); err == nil {
		t.Fatal("a configuration whose handlers disagree about a pool was loaded")
	}
	eventually(t, "only the pool in use is left", func() bool {
		s.do("GET", "/lbpro/pools", "", 200, &list)
		return len(list.Pools) == 1 && list.Pools[0].Name == "t"
	})
	s.get("/").want(t, http.StatusOK, "x")
}

// The app shows the same to other modules, but lets nobody change anything.
func TestAppServesTheAPIReadOnly(t *testing.T) {
	one := serve(t, say("one"))
	startAdmin(t, "lbpro "+one.addr+" {\n\tpool t\n}")
	ctx := caddy.ActiveContext()
	app, err := ctx.AppIfConfigured("lbpro")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path string) (*httptest.ResponseRecorder, error) {
		w := httptest.NewRecorder()
		return w, app.(*App).ServeAPI(w, httptest.NewRequest(method, path, nil))
	}
	w, err := ask("GET", "/lbpro/pools/t")
	var p poolResource
	if err != nil || json.Unmarshal(w.Body.Bytes(), &p) != nil || p.Name != "t" {
		t.Errorf("GET: %v, %s", err, w.Body)
	}
	for method, path := range map[string]string{
		"POST":   "/lbpro/pools/t/backends/" + one.addr + "/drain",
		"DELETE": "/lbpro/pools/t",
		"GET":    "/lbpro/%zz/t",
	} {
		r := httptest.NewRequest(method, "/", nil)
		r.URL = &url.URL{Path: path, RawPath: path}
		var e caddy.APIError
		if err := app.(*App).ServeAPI(httptest.NewRecorder(), r); !errors.As(err, &e) || e.HTTPStatus < 400 {
			t.Errorf("%s %s: %v", method, path, err)
		}
	}
	if s := poolNamed(t, "t").Backends()[0].State(); s != balance.Serving {
		t.Errorf("it was changed: %v", s)
	}
}
