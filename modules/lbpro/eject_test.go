package lbpro

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// reached sends n requests and returns how many of them reached the server.
func reached(t *testing.T, s *site, to *server, n int) int64 {
	t.Helper()
	before := to.hits.Load()
	for range n {
		s.get("/")
	}
	return to.hits.Load() - before
}

// A backend that fails is taken out with nothing configured, while every request is
// answered, and comes back by itself.
func TestFailingBackendIsEjectedAndComesBack(t *testing.T) {
	for name, fault := range map[string]http.HandlerFunc{"500": status(500), "reset": reset} {
		t.Run(name, func(t *testing.T) {
			bad := serve(t, fault)
			s, p := startPool(t, "policy round_robin\neject {\nbase_time 100ms\n}\nslow_start off", bad, serve(t, say("ok")), serve(t, say("ok")))
			b := p.Get(bad.addr)
			eventually(t, "it is ejected", func() bool {
				s.get("/").want(t, 200, "ok")
				return b.State() == balance.Ejected
			})
			bad.turn(say("ok"))
			eventually(t, "it serves again", func() bool {
				s.get("/").want(t, 200, "ok")
				return b.State() == balance.Serving
			})
			eventually(t, "it gets requests again", func() bool { return reached(t, s, bad, 30) > 3 })
		})
	}
}

func TestTheOnlyBackendIsNeverEjected(t *testing.T) {
	only := serve(t, status(500))
	s, p := startPool(t, "eject {\nmax_percent 100\n}", only)
	for range 60 {
		s.get("/").want(t, 500, "")
	}
	if st := p.Get(only.addr).State(); st != balance.Serving {
		t.Errorf("the only backend is %v", st)
	}
	only.turn(say("ok"))
	s.get("/").want(t, 200, "ok")
}

func TestAtMostHalfIsEjected(t *testing.T) {
	bad := []*server{serve(t, status(500)), serve(t, status(500)), serve(t, status(500))}
	s, p := startPool(t, "eject {\nbase_time 30s\n}", append(bad, serve(t, say("ok")))...)
	for range 200 {
		s.get("/").want(t, 200, "ok")
	}
	out := 0
	for _, b := range p.Backends() {
		if b.State() != balance.Serving {
			out++
		}
	}
	if out > 2 {
		t.Errorf("%d of 4 backends are out, want 2 at most", out)
	}
}

func TestEjectOff(t *testing.T) {
	bad := serve(t, status(500))
	s, p := startPool(t, "eject off", bad, serve(t, say("ok")))
	for range 60 {
		s.get("/").want(t, 200, "ok")
	}
	if st := p.Get(bad.addr).State(); st != balance.Serving {
		t.Errorf("the backend is %v with ejection off", st)
	}
}

func TestBackup(t *testing.T) {
	a, b, spare := serve(t, say("main")), serve(t, say("main")), serve(t, say("spare"))
	s, p := startPool(t, "backup "+spare.addr, a, b, spare)
	for range 60 {
		s.get("/").want(t, 200, "main")
	}
	if n := spare.hits.Load(); n != 0 {
		t.Errorf("the backup got %d requests while the others serve", n)
	}
	a.turn(reset)
	b.turn(reset)
	for range 30 {
		s.get("/").want(t, 200, "spare")
	}
	a.turn(say("main"))
	b.turn(say("main"))
	eventually(t, "the others serve alone again", func() bool { return reached(t, s, spare, 20) == 0 })
	idle(t, p)
}

func TestWeights(t *testing.T) {
	none, one, three := serve(t, say("ok")), serve(t, say("ok")), serve(t, say("ok"))
	s, _ := startPool(t, fmt.Sprintf("weight %s 0\nweight %s 3\npolicy smooth_round_robin", none.addr, three.addr), none, one, three)
	for range 400 {
		s.get("/").want(t, 200, "ok")
	}
	if n := none.hits.Load(); n != 0 {
		t.Errorf("a backend of weight 0 got %d requests", n)
	}
	if n, m := one.hits.Load(), three.hits.Load(); n < 80 || n > 120 {
		t.Errorf("weights 1 and 3 got %d and %d of 400 requests", n, m)
	}
}

func TestAllWeightsAreZero(t *testing.T) {
	only := serve(t, say("ok"))
	s, _ := startPool(t, fmt.Sprintf("weight %s 0", only.addr), only)
	r := s.get("/")
	if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("answer is %d with Retry-After %q, want 503 with one", r.StatusCode, r.Header.Get("Retry-After"))
	}
}

// Below the panic threshold ejected backends are used again: some of them may work.
func TestPanicThreshold(t *testing.T) {
	bad, good := []*server{serve(t, status(500)), serve(t, status(500))}, serve(t, say("ok"))
	s, p := startPool(t, "eject {\nmax_percent 100\nbase_time 1m\nmax_time 1m\n}\npanic_threshold 0.9\npolicy random", append(bad, good)...)
	eventually(t, "too few can serve", func() bool {
		s.get("/").want(t, 200, "ok")
		return p.Panicked()
	})
	good.turn(status(500))
	for _, b := range bad {
		b.turn(say("was out"))
	}
	s.get("/").want(t, 200, "was out")
}

func TestDrain(t *testing.T) {
	release := make(chan struct{})
	leaving, staying := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		<-release
		io.WriteString(w, "done")
	}), serve(t, say("ok"))
	s, p := startPool(t, "policy first\nhedge off", leaving, staying)
	got := make(chan string, 1)
	go func() {
		r, err := fetch(s.request(http.MethodGet, "/", nil))
		got <- fmt.Sprint(r.body, err)
	}()
	b := p.Get(leaving.addr)
	eventually(t, "a request is in flight", func() bool { return b.InFlight() == 1 && leaving.hits.Load() == 1 })
	b.Drain(0, "test", clock())
	if n := reached(t, s, leaving, 30); n != 0 {
		t.Errorf("a draining backend got %d new requests", n)
	}
	close(release)
	if v := <-got; v != "done<nil>" {
		t.Errorf("the request in flight ended with %q, want done", v)
	}
	leaving.turn(say("back"))
	if !b.Undrain(clock()) {
		t.Fatal("it was not draining")
	}
	// It let a request wait while the other answered; the next tick sees that it has
	// answered since.
	eventually(t, "it is not silent", func() bool { return !b.Silent() })
	s.get("/").want(t, 200, "back")
}

func TestAllDraining(t *testing.T) {
	only := serve(t, say("ok"))
	s, p := startPool(t, "", only)
	p.Get(only.addr).Drain(0, "test", clock())
	if r := s.get("/"); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("answer is %d, want 503", r.StatusCode)
	}
}

// Caddy's own checks rule a backend out whatever our figures say of it.
func TestActiveHealthChecks(t *testing.T) {
	check := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/health" {
				w.WriteHeader(code)
				return
			}
			io.WriteString(w, "ok")
		}
	}
	sick, well := serve(t, check(500)), serve(t, check(200))
	s, p := startPool(t, "health_uri /health\nhealth_interval 20ms", sick, well)
	eventually(t, "the check has failed", func() bool { return sick.hits.Load() > 1 })
	traffic := func() int64 { return p.Get(sick.addr).Totals.Requests.Load() }
	eventually(t, "it gets no requests", func() bool {
		before := traffic()
		for range 20 {
			s.get("/").want(t, 200, "ok")
		}
		return traffic() == before
	})
	sick.turn(check(200))
	eventually(t, "it gets requests again", func() bool {
		before := traffic()
		for range 20 {
			s.get("/").want(t, 200, "ok")
		}
		return traffic() > before+2
	})
}

func TestMaxRequests(t *testing.T) {
	g := new(gauge)
	release := make(chan struct{})
	small := serve(t, g.around(func(w http.ResponseWriter, _ *http.Request) { <-release }))
	other := serve(t, say("ok"))
	s, p := startPool(t, "policy first\nhedge off\nunhealthy_request_count 1", small, other)
	done := make(chan struct{})
	go func() {
		defer close(done)
		fetch(s.request(http.MethodGet, "/", nil))
	}()
	eventually(t, "its place is taken", func() bool { return g.now.Load() == 1 })
	for range 20 {
		s.get("/").want(t, 200, "ok")
	}
	close(release)
	<-done
	if n := g.most.Load(); n != 1 {
		t.Errorf("it had %d requests at once, max_requests is 1", n)
	}
	idle(t, p)
}

// Passive health checks are Caddy's: what they count rules a backend out here too.
func TestPassiveHealthChecks(t *testing.T) {
	sick, well := serve(t, status(418)), serve(t, say("ok"))
	s, _ := startPool(t, "policy first\nfail_duration 1m\nunhealthy_status 418", sick, well)
	s.get("/").want(t, 418, "")
	for range 10 {
		s.get("/").want(t, 200, "ok")
	}
}

// Slow answers that all backends give alike eject nobody.
func TestAPoolThatIsSlowAltogether(t *testing.T) {
	var servers []*server
	for range 3 {
		servers = append(servers, serve(t, after(time.Millisecond, "ok")))
	}
	s, p := startPool(t, "", servers...)
	warm(t, s, "/")
	for _, b := range servers {
		b.turn(after(150*time.Millisecond, "ok"))
	}
	for range 20 {
		s.get("/").want(t, 200, "ok")
	}
	for _, b := range p.Backends() {
		if b.State() != balance.Serving {
			t.Errorf("%s is %v", b.ID, b.State())
		}
	}
}

// 4xx answers speak of the request; they do not count against the backend.
func TestClientErrorsAreNotFailures(t *testing.T) {
	servers := []*server{serve(t, status(404)), serve(t, status(429))}
	s, p := startPool(t, "policy round_robin", servers...)
	for range 60 {
		s.get("/")
		s.send(s.request(http.MethodPost, "/", strings.NewReader("b")))
	}
	for _, b := range p.Backends() {
		if b.State() != balance.Serving || b.Totals.Requests.Load() < 40 {
			t.Errorf("%s is %v after %d requests", b.ID, b.State(), b.Totals.Requests.Load())
		}
	}
}
