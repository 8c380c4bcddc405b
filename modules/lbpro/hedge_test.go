package lbpro

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// warm sends enough requests that the pool knows what the paths usually take.
func warm(t *testing.T, s *site, paths ...string) {
	t.Helper()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 60 {
				for _, path := range paths {
					if r, err := fetch(s.request(http.MethodGet, path, nil)); err != nil || r.StatusCode != 200 {
						t.Errorf("warming up: %v %v", r.Response, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// after answers with a text when d has passed, unless the request ends first.
func after(d time.Duration, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		select {
		case <-time.After(d):
			io.WriteString(w, text)
		case <-r.Context().Done():
		}
	}
}

func hedged(p *balance.Pool) (hedges, won int64) {
	for _, b := range p.Backends() {
		hedges += b.Totals.Hedges.Load()
		won += b.Totals.HedgeWon.Load()
	}
	return hedges, won
}

// Requests that are safe to repeat are answered although one backend of three hangs, with
// nothing configured, and the backend is noticed.
func TestHungBackendIsHedged(t *testing.T) {
	servers := []*server{serve(t, after(2*time.Millisecond, "ok")), serve(t, after(2*time.Millisecond, "ok")), serve(t, after(2*time.Millisecond, "ok"))}
	s, p := startPool(t, "eject {\nhang 300ms\n}", servers...)
	warm(t, s, "/")
	bad := servers[0]
	bad.turn(hang)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for range 50 {
				r, err := fetch(s.request(http.MethodGet, "/", nil))
				if err != nil || r.StatusCode != 200 || r.body != "ok" {
					t.Errorf("while one backend hangs: %v %v", r.Response, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if _, won := hedged(p); won == 0 {
		t.Error("no hedge has answered, so no request met the backend that hangs")
	}
	b := p.Get(bad.addr)
	eventually(t, "the backend that hangs is ejected", func() bool {
		s.get("/").want(t, 200, "ok")
		return b.Totals.Ejections(balance.ReasonHung) > 0
	})

	bad.turn(after(2*time.Millisecond, "ok"))
	eventually(t, "the backend serves again when it is back", func() bool {
		s.get("/").want(t, 200, "ok")
		return b.State() == balance.Serving && !b.Silent()
	})
	idle(t, p)
}

// What the hedge sends names its own backend, and so does what comes back.
func TestHedgeHasItsOwnHeaders(t *testing.T) {
	tell := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", r.Header.Get("X-To"), r.Header.Get("X-Forwarded-For"), r.Host)
	}
	bad, good := serve(t, tell), serve(t, tell)
	s, p := startPool(t, "eject off\nheader_up X-To {upstream_hostport}\nheader_up Host {upstream_hostport}\nheader_down X-From {upstream_hostport}", bad, good)
	warm(t, s, "/")
	bad.turn(hang)
	eventually(t, "a hedge has answered", func() bool {
		r := s.get("/")
		r.want(t, 200, good.addr+" 127.0.0.1 "+good.addr)
		if from := r.Header.Get("X-From"); from != good.addr {
			t.Fatalf("header_down names %q, want %q", from, good.addr)
		}
		_, won := hedged(p)
		return won > 0
	})
	idle(t, p)
}

func TestHedgeOff(t *testing.T) {
	bad, good := serve(t, say("ok")), serve(t, say("ok"))
	s, p := startPool(t, "policy first\nhedge off\neject off", bad, good)
	warm(t, s, "/")
	release := make(chan struct{})
	bad.turn(func(w http.ResponseWriter, _ *http.Request) {
		<-release
		io.WriteString(w, "late")
	})
	got := make(chan string, 1)
	go func() {
		r, err := fetch(s.request(http.MethodGet, "/", nil))
		got <- fmt.Sprint(r.body, err)
	}()
	b := p.Get(bad.addr)
	eventually(t, "the backend is seen to be silent", b.Silent)
	close(release)
	if v := <-got; v != "late<nil>" {
		t.Errorf("answer is %q, want the late one", v)
	}
	if n, _ := hedged(p); n != 0 {
		t.Errorf("%d hedges with hedge off", n)
	}
	idle(t, p)
}

// A request that must not be repeated is never doubled, however silent its backend is.
func TestPostIsNotHedged(t *testing.T) {
	bad, good := serve(t, say("ok")), serve(t, say("ok"))
	s, p := startPool(t, "policy first\neject off", bad, good)
	warm(t, s, "/")
	post := func() *http.Request { return s.request(http.MethodPost, "/", strings.NewReader("b")) }
	for range 20 {
		s.send(post()).want(t, 200, "ok")
	}
	release, posts := make(chan struct{}), new(atomic.Int64)
	bad.turn(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			posts.Add(1)
			<-release
		} else {
			<-r.Context().Done()
		}
		io.WriteString(w, "late")
	})
	before := good.hits.Load()
	got := make(chan string, 1)
	go func() {
		r, err := fetch(post())
		got <- fmt.Sprint(r.body, err)
	}()
	eventually(t, "the POST is at the backend", func() bool { return posts.Load() == 1 })
	eventually(t, "the backend is seen to be silent", p.Get(bad.addr).Silent)
	s.get("/").want(t, 200, "ok") // at the other one
	close(release)
	if v := <-got; v != "late<nil>" {
		t.Errorf("answer is %q, want the backend's own", v)
	}
	if n := good.hits.Load() - before; n != 1 {
		t.Errorf("the other backend was sent %d requests, want the GET alone", n)
	}
}

// Long requests to healthy backends are left alone: nothing is ejected, and nothing is
// sent twice.
func TestLongRequestsAreLeftAlone(t *testing.T) {
	const long = 700 * time.Millisecond
	work := func(w http.ResponseWriter, r *http.Request) {
		d := 2 * time.Millisecond
		if strings.HasPrefix(r.URL.Path, "/slow") || r.URL.Query().Has("all") {
			d = long
		}
		after(d, "ok")(w, r)
	}
	for _, c := range []struct {
		name       string
		known      string // the path that is known to be fast
		path       func(i int) string
		background bool // fast requests go on meanwhile
		clients    int
	}{
		{"a slow endpoint beside fast ones", "/fast", func(int) string { return "/slow" }, true, 8},
		{"slow requests of many names", "/fast", func(i int) string { return fmt.Sprint("/slow/", i) }, true, 8},
		{"a slow query of a fast path", "/fast", func(i int) string { return fmt.Sprint("/fast?all=", i) }, true, 8},
		{"one slow query at a time", "/fast", func(i int) string { return fmt.Sprint("/fast?all=", i) }, false, 1},
		{"only slow queries after fast ones", "/fast", func(i int) string { return fmt.Sprint("/fast?all=", i) }, false, 8},
		{"only a slow endpoint after fast ones", "/fast", func(int) string { return "/slow" }, false, 8},
		{"few slow queries in a larger pool", "/fast", func(i int) string { return fmt.Sprint("/fast?all=", i) }, false, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			var servers []*server
			var slow atomic.Int64
			for range 3 {
				servers = append(servers, serve(t, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path != c.known || r.URL.RawQuery != "" {
						slow.Add(1)
					}
					work(w, r)
				}))
			}
			s, p := startPool(t, "eject {\nhang 400ms\n}", servers...)
			warm(t, s, c.known)
			stop := make(chan struct{})
			var fast sync.WaitGroup
			if c.background {
				fast.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						if r, err := fetch(s.request(http.MethodGet, c.known, nil)); err != nil || r.StatusCode != 200 {
							t.Errorf("fast request: %v %v", r.Response, err)
							return
						}
					}
				})
			}
			var wg sync.WaitGroup
			for i := range c.clients {
				wg.Go(func() {
					for j := range 3 {
						r, err := fetch(s.request(http.MethodGet, c.path(i*3+j), nil))
						if err != nil || r.StatusCode != 200 || r.body != "ok" {
							t.Errorf("slow request: %v %v", r.Response, err)
						}
					}
				})
			}
			wg.Wait()
			close(stop)
			fast.Wait()
			idle(t, p)
			if n := slow.Load(); n != int64(3*c.clients) {
				t.Errorf("the backends were sent %d slow requests for %d", n, 3*c.clients)
			}
			for _, b := range p.Backends() {
				for _, why := range balance.Reasons {
					if n := b.Totals.Ejections(why); n != 0 {
						t.Errorf("%s was ejected %d times for %s", b.ID, n, why)
					}
				}
			}
		})
	}
}
