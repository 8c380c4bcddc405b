package lbpro

import (
	"sync"
	"time"
)

// rateWindow is the time over which rates are taken; ratePoints how many counts are kept
// for it, one a second.
const (
	rateWindow = time.Minute
	ratePoints = 61
	rateStep   = time.Second
)

// counts are the totals that rates are made of: at a backend they count attempts, at a
// pool what clients asked and got.
type counts struct {
	requests int64         // begun at a backend, ended at a pool
	judged   int64         // ended with an outcome that says something of the server side
	failed   int64         // of these, failures
	timed    int64         // ended with a whole answer
	took     time.Duration // of these, together
}

func (c counts) minus(o counts) counts {
	return counts{c.requests - o.requests, c.judged - o.judged, c.failed - o.failed, c.timed - o.timed, c.took - o.took}
}

// history keeps the totals of the last minute, one a second, in a ring.
type history struct {
	mu    sync.Mutex
	ring  [ratePoints]point
	next  int
	count int
}

type point struct {
	at time.Duration
	counts
}

// add notes the totals at a time. During a reload two apps do so; what comes sooner than
// half a step after the last is left out.
func (h *history) add(at time.Duration, c counts) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count > 0 && at-h.ring[(h.next+ratePoints-1)%ratePoints].at < rateStep/2 {
		return
	}
	h.ring[h.next] = point{at, c}
	h.next = (h.next + 1) % ratePoints
	h.count = min(h.count+1, ratePoints)
}

// rates are figures over the last minute, or over the time since the first count when
// that is shorter.
type rates struct {
	Window      time.Duration
	Requests    int64
	PerSecond   float64
	SuccessRate float64 // 1 when there was nothing to judge
	ErrorRate   float64
	Average     time.Duration // of whole answers; 0 without any
	P50, P99    time.Duration // of whole answers; 0 without any
}

// since returns the change up to now, at which the totals are c.
func (h *history) since(now time.Duration, c counts) (counts, time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k := h.count; k > 0; k-- {
		p := &h.ring[(h.next+ratePoints-k)%ratePoints]
		// A tick comes a little late rather than early.
		if now-p.at <= rateWindow+rateStep/2 {
			return c.minus(p.counts), now - p.at
		}
	}
	return counts{}, 0
}

// over makes rates of a change.
func (c counts) over(window time.Duration) rates {
	r := rates{Window: window, Requests: c.requests, SuccessRate: 1}
	if window > 0 {
		r.PerSecond = float64(c.requests) / window.Seconds()
	}
	if c.judged > 0 {
		r.ErrorRate = min(1, float64(c.failed)/float64(c.judged))
		r.SuccessRate = 1 - r.ErrorRate
	}
	if c.timed > 0 {
		r.Average = c.took / time.Duration(c.timed)
	}
	return r
}

// withQuantiles adds the quantiles of the last minute.
func (r rates) withQuantiles(h *recent) rates {
	var q [2]time.Duration
	if h.quantiles([]float64{0.5, 0.99}, q[:]) {
		r.P50, r.P99 = q[0], q[1]
	}
	return r
}
