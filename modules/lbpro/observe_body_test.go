package lbpro

import (
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// headFirst sends headers at once and the rest after d, in two parts.
func headFirst(d time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		for _, part := range []string{"half", "whole"} {
			select {
			case <-time.After(d / 2):
				io.WriteString(w, part)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}
}

// A backend whose headers come at once and whose bodies come late gets hardly anything, in
// lbpro and with the policy in stock reverse_proxy.
func TestSlowBodiesAreAvoided(t *testing.T) {
	for name, directive := range map[string]string{
		"lbpro": "lbpro",
		"stock": "reverse_proxy",
	} {
		t.Run(name, func(t *testing.T) {
			slow := serve(t, headFirst(200*time.Millisecond))
			one, two := serve(t, headFirst(4*time.Millisecond)), serve(t, headFirst(4*time.Millisecond))
			options := "pool t"
			if name == "stock" {
				options = "lb_policy lbpro.adaptive\n\ttransport lbpro"
			}
			s := startSite(t, directive+" "+slow.addr+" "+one.addr+" "+two.addr+" {\n\t"+options+"\n}")
			load := func(each int) {
				var wg sync.WaitGroup
				for range 4 {
					wg.Go(func() {
						for range each {
							s.get("/").want(t, 200, "halfwhole")
						}
					})
				}
				wg.Wait()
			}
			load(40)
			before := [3]int64{slow.hits.Load(), one.hits.Load(), two.hits.Load()}
			load(100)
			got := [3]int64{slow.hits.Load() - before[0], one.hits.Load() - before[1], two.hits.Load() - before[2]}
			if got[0] > 20 {
				t.Errorf("of 400 requests the slow backend gets %d, the others %d and %d; want 20 at most", got[0], got[1], got[2])
			}
		})
	}
}

// A client that reads slowly makes no backend slow: what is waited for is the backend.
func TestSlowClientsAreNotTheBackends(t *testing.T) {
	const size = 64 << 20 // more than the sockets on the way hold
	written := make(chan struct{})
	big := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		defer close(written)
		w.Write(make([]byte, size))
	})
	s, p := startPool(t, "", big)
	res, err := client.Do(s.request(http.MethodGet, "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	began := time.Now()
	pause := time.NewTimer(500 * time.Millisecond)
	select {
	case <-written:
		t.Fatal("the whole answer fits into sockets: it has to be larger")
	case <-pause.C: // the client is busy with something else
	}
	if n, err := io.Copy(io.Discard, res.Body); err != nil || n != size {
		t.Fatalf("%d bytes (%v), want %d", n, err, size)
	}
	took := time.Since(began)
	var view balance.View
	eventually(t, "the answer is taken in", func() bool {
		view = p.View(clock())
		return view.Backends[0].Samples == 1
	})
	if rest := view.Rest; rest > took-400*time.Millisecond {
		t.Errorf("the backend was waited for %v of the %v that the client took, 500 ms of which were its own", rest, took)
	}
}

// An answer that is a stream of events counts by its first byte, at once.
func TestStreamsCountByTheirFirstByte(t *testing.T) {
	release := make(chan struct{})
	stream := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		<-release
	})
	s, p := startPool(t, "", stream)
	res, err := client.Do(s.request(http.MethodGet, "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	eventually(t, "the stream counts while it is open", func() bool { return p.View(clock()).Backends[0].Samples == 1 })
	close(release)
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	idle(t, p)
	if v := p.View(clock()); v.Rest != 0 || v.Backends[0].Samples != 1 {
		t.Errorf("%d samples, and the rest was waited for %v; want 1 and nothing", v.Backends[0].Samples, v.Rest)
	}
}

// A backend that lacks what the others have answers 404 in no time. That must not pass for
// speed: it would draw every request.
func TestQuickRefusalsDoNotAttract(t *testing.T) {
	empty := serve(t, status(http.StatusNotFound))
	var addrs string
	for range 3 {
		addrs += " " + serve(t, after(5*time.Millisecond, "ok")).addr
	}
	for name, policy := range map[string]string{"adaptive": "", "peak_ewma": "policy peak_ewma", "least_time": "policy least_time"} {
		t.Run(name, func(t *testing.T) {
			s := startSite(t, "lbpro "+empty.addr+addrs+" {\n\tpool t\n\t"+policy+"\n}")
			const n = 400
			before := empty.hits.Load()
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range n / 4 {
						s.get("/")
					}
				})
			}
			wg.Wait()
			if got := empty.hits.Load() - before; got > n/2 {
				t.Errorf("the backend that has nothing gets %d of %d requests, want half at most: a quarter is its share", got, n)
			}
		})
	}
}
