package lbpro

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// gauge answers with h and knows how many requests were inside at once at most.
type gauge struct{ now, most atomic.Int64 }

func (g *gauge) around(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n := g.now.Add(1)
		defer g.now.Add(-1)
		for m := g.most.Load(); n > m && !g.most.CompareAndSwap(m, n); m = g.most.Load() {
		}
		h(w, r)
	}
}

// The limit of a backend holds at every moment, and those above it wait and are answered.
func TestLimitIsNeverExceeded(t *testing.T) {
	for _, policy := range []string{"adaptive", "p2c", "random"} {
		t.Run(policy, func(t *testing.T) {
			var servers []*server
			var gauges []*gauge
			for range 2 {
				g := new(gauge)
				gauges = append(gauges, g)
				servers = append(servers, serve(t, g.around(after(time.Millisecond, "ok"))))
			}
			s, p := startPool(t, "limit 3\npolicy "+policy, servers...)
			keepAlive := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}, Timeout: patience}
			defer keepAlive.CloseIdleConnections()
			var wg sync.WaitGroup
			for range 40 {
				wg.Go(func() {
					for range 25 {
						res, err := keepAlive.Get(s.URL)
						if err != nil {
							t.Error(err)
							return
						}
						io.Copy(io.Discard, res.Body)
						res.Body.Close()
						if res.StatusCode != 200 {
							t.Errorf("answer is %d, want 200 after waiting", res.StatusCode)
						}
					}
				})
			}
			wg.Wait()
			for i, g := range gauges {
				if n := g.most.Load(); n > 3 {
					t.Errorf("backend %d had %d requests at once, the limit is 3", i, n)
				}
			}
			idle(t, p)
		})
	}
}

// full fills a pool with a limit of 1 and returns how to let its request go.
func full(t *testing.T, options string) (*site, *server, func()) {
	t.Helper()
	release, entered := make(chan struct{}), make(chan struct{}, 100)
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-release
		io.WriteString(w, r.URL.Path)
	})
	s, p := startPool(t, "limit 1\n"+options, b)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if r, err := fetch(s.request(http.MethodGet, "/first", nil)); err != nil || r.body != "/first" {
			t.Errorf("the first request: %v %v", r.Response, err)
		}
	}()
	<-entered // reserved is not enough: the handler may be changed afterwards
	eventually(t, "the backend is full", p.Backends()[0].Full)
	var once sync.Once
	let := func() { once.Do(func() { close(release); <-done }) }
	t.Cleanup(let)
	return s, b, let
}

func TestQueueIsFull(t *testing.T) {
	for options, waiting := range map[string]int{"queue off": 0, "queue {\nsize 2\n}": 2} {
		t.Run(options, func(t *testing.T) {
			s, _, release := full(t, options)
			p := poolNamed(t, "t")
			var wg sync.WaitGroup
			for i := range waiting {
				wg.Go(func() {
					if r, err := fetch(s.request(http.MethodGet, "/wait", nil)); err != nil || r.StatusCode != 200 {
						t.Errorf("request %d in the queue: %v %v", i, r.Response, err)
					}
				})
			}
			eventually(t, "the queue is full", func() bool { return p.Queue.Len() == int64(waiting) })
			r := s.get("/over")
			if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
				t.Errorf("answer is %d with Retry-After %q, want 503 with one", r.StatusCode, r.Header.Get("Retry-After"))
			}
			if n := p.Queue.Full(); n != 1 {
				t.Errorf("%d were counted as turned away, want 1", n)
			}
			release()
			wg.Wait()
			idle(t, p)
		})
	}
}

func TestQueueTimesOut(t *testing.T) {
	s, b, release := full(t, "queue {\ntimeout 50ms\n}")
	p := poolNamed(t, "t")
	r := s.get("/late")
	if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("answer is %d with Retry-After %q, want 503 with one", r.StatusCode, r.Header.Get("Retry-After"))
	}
	if n := p.Queue.Expired(); n != 1 {
		t.Errorf("%d were counted as expired, want 1", n)
	}
	release()
	idle(t, p)
	if n := b.hits.Load(); n != 1 {
		t.Errorf("the backend got %d requests, want the first alone", n)
	}
}

// Requests leave the queue in the order in which they came; one whose client has gone
// leaves it at once and is sent nowhere.
func TestQueueIsInOrder(t *testing.T) {
	s, b, release := full(t, "queue {\ntimeout 30s\n}")
	p := poolNamed(t, "t")
	var mu sync.Mutex
	var order []string
	b.turn(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		order = append(order, r.URL.Path)
		mu.Unlock()
	})
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	for i := range 8 {
		req := s.request(http.MethodGet, fmt.Sprint("/", i), nil)
		if i == 3 {
			req = req.WithContext(ctx)
		}
		wg.Go(func() {
			if r, err := fetch(req); i != 3 && (err != nil || r.StatusCode != 200) {
				t.Errorf("request %d: %v %v", i, r.Response, err)
			}
		})
		eventually(t, "it waits", func() bool { return p.Queue.Len() == int64(i+1) })
	}
	cancel()
	eventually(t, "the one without a client leaves", func() bool { return p.Queue.Len() == 7 })
	release()
	wg.Wait()
	if want := "[/0 /1 /2 /4 /5 /6 /7]"; fmt.Sprint(order) != want {
		t.Errorf("order is %v, want %s", order, want)
	}
	idle(t, p)
}
