package lbpro

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// Requests that come while no backend is there wait, and are answered when one is back;
// meanwhile the backends are not hammered.
func TestOutageIsWaitedOut(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			const clients = 60
			down := []*server{refused(t), refused(t), refused(t)}
			s, p := startPool(t, "", down...)
			var wg sync.WaitGroup
			for range clients {
				wg.Go(func() {
					body := strings.NewReader("")
					if method == http.MethodPost {
						body = strings.NewReader("body")
					}
					r, err := fetch(s.request(method, "/", body))
					if err != nil || r.StatusCode != 200 || r.body != "back" {
						t.Errorf("a request that waited: %v %q %v", r.Response, r.body, err)
					}
				})
			}
			eventually(t, "all requests wait", func() bool { return p.Queue.Len() >= clients-1 && attempts(p) >= clients })
			began, sent := time.Now(), attempts(p)
			eventually(t, "the outage lasts", func() bool { return time.Since(began) > 500*time.Millisecond })
			took := time.Since(began)
			// The head of the queue looks every 25 ms at the soonest, at every backend
			// that it may try.
			if n, most := attempts(p)-sent, int64(took/(25*time.Millisecond)+1)*4; n > most {
				t.Errorf("%d attempts in %v of outage, want at most %d", n, took, most)
			}
			for _, d := range down {
				serveOn(t, d.addr, say("back"))
			}
			wg.Wait()
			eventually(t, "every backend serves again", func() bool {
				s.get("/").want(t, 200, "back")
				for _, b := range p.Backends() {
					if b.State() != balance.Serving {
						return false
					}
				}
				return true
			})
			idle(t, p)
		})
	}
}

// A pool whose backends all fail at once with an error answers with it, without a storm
// of repeats, and works again with the first request after they do.
func TestAllBackendsFail(t *testing.T) {
	var servers []*server
	for range 3 {
		servers = append(servers, serve(t, status(500)))
	}
	s, p := startPool(t, "", servers...)
	const clients, each = 8, 40
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range each {
				r, err := fetch(s.request(http.MethodGet, "/", nil))
				if err != nil || r.StatusCode < 500 {
					t.Errorf("%v %v, want an error of the backend's", r.Response, err)
				}
			}
		})
	}
	wg.Wait()
	if n, most := attempts(p), int64(clients*each*len(servers)); n > most {
		t.Errorf("%d attempts for %d requests, want at most %d", n, clients*each, most)
	}
	for _, d := range servers {
		d.turn(say("ok"))
	}
	for range 50 {
		s.get("/").want(t, 200, "ok")
	}
	eventually(t, "no backend is out any more", func() bool {
		s.get("/").want(t, 200, "ok")
		for _, b := range p.Backends() {
			if b.State() != balance.Serving {
				return false
			}
		}
		return true
	})
}

// An outage that lasts ends waiting with 503 and Retry-After.
func TestOutageThatLasts(t *testing.T) {
	s, p := startPool(t, "queue {\ntimeout 300ms\n}", refused(t), refused(t))
	r := s.get("/")
	if r.StatusCode < 502 || r.StatusCode > 504 {
		t.Errorf("answer is %d, want a gateway's error", r.StatusCode)
	}
	if r.StatusCode == http.StatusServiceUnavailable && r.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	idle(t, p)
}

// The same while requests keep coming: every one that came in the last moments of the
// outage or after it is answered.
func TestOutageUnderLoad(t *testing.T) {
	addrs := []*server{{addr: freeAddr(t)}, {addr: freeAddr(t)}}
	s, p := startPool(t, "", addrs...)
	stop := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	end := func() { once.Do(func() { close(stop) }); wg.Wait() }
	t.Cleanup(end)
	for range 10 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if r, err := fetch(s.request(http.MethodGet, "/", nil)); err != nil || r.StatusCode != 200 {
					t.Errorf("%v %v, want every request to be answered", r.Response, err)
					return
				}
			}
		})
	}
	for range 3 {
		eventually(t, "requests wait", func() bool { return p.Queue.Len() > 0 })
		up := []*server{serveOn(t, addrs[0].addr, say("ok")), serveOn(t, addrs[1].addr, say("ok"))}
		eventually(t, "requests are answered", func() bool { return up[0].hits.Load()+up[1].hits.Load() > 200 })
		for _, u := range up {
			u.CloseClientConnections()
			u.Close()
		}
	}
	for _, a := range addrs {
		serveOn(t, a.addr, say("ok"))
	}
	end()
	idle(t, p)
}
