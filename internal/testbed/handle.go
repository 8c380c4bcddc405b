package testbed

import (
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Headers between the load and the backends.
const (
	// DemandHeader carries the work of a request in nanoseconds of one worker at full
	// speed.
	DemandHeader = "Testbed-Demand"
	// HoldHeader carries, in nanoseconds, for how long a request waits without taking
	// a worker before anything else happens, as a long poll does.
	HoldHeader = "Testbed-Hold"
	// BackendHeader names, in an answer, the backend that gave it.
	BackendHeader = "Testbed-Backend"
)

const (
	maxDemand  = 10 * time.Minute
	maxBody    = 1 << 20
	maxRequest = 1 << 30 // most bytes of a request's body that are read
)

// demandSource draws demands for requests that carry none.
type demandSource struct {
	dist Distribution
	mu   sync.Mutex
	rand *rand.Rand
}

func (d *demandSource) init(dist Distribution, seed uint64) {
	d.dist, d.rand = dist, newRand(seed, "backend demand")
}

func (d *demandSource) next() time.Duration {
	if d.dist == nil {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dist.Sample(d.rand)
}

// nanoseconds reads a duration header; ok is false when it is absent, malformed,
// negative or above ten minutes.
func nanoseconds(h http.Header, name string) (d time.Duration, ok bool) {
	s := h.Get(name)
	if s == "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return time.Duration(n), err == nil && n >= 0 && n <= int64(maxDemand)
}

func (b *Backend) handle(w http.ResponseWriter, r *http.Request) {
	// A handler of a closed server may still be running; Close waits for it.
	b.mu.Lock()
	if b.ctx.Err() != nil {
		b.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	b.done.Add(1)
	b.mu.Unlock()
	defer b.done.Done()

	at, seg := b.now()
	b.counts.arrival(at)
	if r.Body != http.NoBody {
		// Reading the body to its end also lets net/http notice a client that leaves.
		if _, err := io.Copy(io.Discard, io.LimitReader(r.Body, maxRequest)); err != nil {
			b.counts.count(func(s *Stats) { s.Aborted++ })
			return
		}
	}
	if hold, ok := nanoseconds(r.Header, HoldHeader); ok && hold > 0 && seg.mode == serving {
		if !b.hold(r, hold) {
			return
		}
		_, seg = b.now()
	}
	switch seg.mode {
	case failing:
		b.fail(w, seg)
	case hanging:
		b.hang(r)
	case resetting:
		b.reset(w)
	case refusing, down:
		b.cut()
	default:
		b.serve(w, r)
	}
}

// serve queues the request for a worker and answers when its work is done.
func (b *Backend) serve(w http.ResponseWriter, r *http.Request) {
	demand, ok := nanoseconds(r.Header, DemandHeader)
	if !ok {
		demand = b.demands.next()
	}
	j := b.station.enter(demand)
	if j == nil {
		b.fail(w, segment{code: http.StatusServiceUnavailable})
		return
	}
	var o outcome
	select {
	case o = <-j.result:
	case <-r.Context().Done():
		b.station.leave(j)
		b.counts.count(func(s *Stats) { s.Aborted++ })
		return
	}
	switch o {
	case lost:
		b.hang(r)
	case reset:
		b.reset(w)
	case cut:
		b.cut()
	default:
		b.answer(w, http.StatusOK)
		b.counts.count(func(s *Stats) { s.Answered++ })
	}
}

// hold waits off the workers; it reports whether the client is still there.
func (b *Backend) hold(r *http.Request, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-b.ctx.Done():
	case <-r.Context().Done():
	}
	b.counts.count(func(s *Stats) { s.Aborted++ })
	return false
}

func (b *Backend) answer(w http.ResponseWriter, code int) {
	h := w.Header()
	h.Set(BackendHeader, b.cfg.Name)
	h.Set("Content-Type", "text/plain")
	h.Set("Content-Length", strconv.Itoa(len(b.body)))
	w.WriteHeader(code)
	if code != http.StatusNoContent && code != http.StatusNotModified {
		_, _ = w.Write(b.body) // a client that left is no concern here
	}
}

func (b *Backend) fail(w http.ResponseWriter, seg segment) {
	if seg.retryAfter > 0 {
		seconds := (seg.retryAfter + time.Second - 1) / time.Second
		w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	b.counts.count(func(s *Stats) { s.Failed++ })
	b.answer(w, seg.code)
}

// hang gives no answer until the client or the backend is gone.
func (b *Backend) hang(r *http.Request) {
	b.counts.count(func(s *Stats) { s.Hung++ })
	select {
	case <-r.Context().Done():
		b.counts.count(func(s *Stats) { s.Aborted++ })
	case <-b.ctx.Done():
	}
	panic(http.ErrAbortHandler)
}

// reset makes the kernel answer with a TCP RST.
func (b *Backend) reset(w http.ResponseWriter) {
	b.counts.count(func(s *Stats) { s.Reset++ })
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails only on a connection already gone
	}
	_ = conn.Close()
}

// cut closes the connection without an answer.
func (b *Backend) cut() {
	b.counts.count(func(s *Stats) { s.Cut++ })
	panic(http.ErrAbortHandler)
}
