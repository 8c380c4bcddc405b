package balance

import (
	"fmt"
	"math"
	"time"
)

// probePatience is how long a half-open backend waits for a request that may be repeated
// to be its probe; then any request is.
const probePatience = time.Second

// note is the request path's part of health: consecutive failures, silence and probes,
// seen at once rather than at the next tick.
func (b *Backend) note(a *Attempt, o Outcome) {
	switch {
	case o == Outrun:
		b.outruns.Add(1)
		b.outrunAt.CompareAndSwap(0, int64(max(a.sent, 1)))
	case o == Canceled:
	case o.Failed():
		b.fails.Add(1)
		b.Totals.Failures[o].Add(1)
	case b.fails.Load() != 0:
		b.fails.Store(0)
	}
	if o < Canceled && b.outruns.Load() != 0 {
		b.outruns.Store(0)
		b.outrunAt.Store(0)
	}
	if a.probe && o == Canceled && b.State() == HalfOpen {
		b.wanted.Store(true) // it proved nothing; the next request is the probe
	}
}

// judge looks at every backend's failures and speed and ejects those that stand out.
func (p *Pool) judge(all []*Backend, o Options, now time.Duration, median float64) {
	for _, b := range all {
		b.mu.Lock()
		switch b.State() {
		case Ejected:
			if b.health.until > 0 && now >= b.health.until {
				p.toHalfOpen(b, now)
			}
		case Serving:
			if !o.Eject.Disabled {
				p.judgeOne(b, o, now, median)
			}
		case HalfOpen:
			b.anyProbe.Store(now-b.health.since > probePatience)
			if b.outruns.Load() > 0 {
				p.eject(b, b.health.reason, "the probe got no answer while others did", o, now)
			} else if first, late := p.late(b, now); late && now-first > o.Eject.BaseTime && !b.wanted.Load() {
				p.eject(b, b.health.reason, "the probe got no answer in "+o.Eject.BaseTime.String(), o, now)
			}
		}
		b.mu.Unlock()
	}
	if !o.Eject.Disabled && o.Eject.SuccessRateStdev > 0 {
		p.judgeSuccessRates(all, o, now)
	}
}

// judgeOne applies the checks that need no other backend but the median. b.mu is held.
func (p *Pool) judgeOne(b *Backend, o Options, now time.Duration, median float64) {
	h, e := &b.health, o.Eject
	if h.times > 0 && now-h.good > e.MaxTime {
		h.times = 0
	}
	if n := b.fails.Load(); e.ConsecutiveFailures > 0 && n >= e.ConsecutiveFailures {
		p.eject(b, ReasonConsecutive, fmt.Sprintf("%d failures one after the other", n), o, now)
		return
	}
	if ok, failed := h.counts(); e.FailureRatio > 0 && ok+failed >= e.MinRequests && failed/(ok+failed) >= e.FailureRatio {
		p.eject(b, ReasonFailureRatio, fmt.Sprintf("%.0f of %.0f requests failed in %v", failed, ok+failed, e.Window), o, now)
		return
	}
	if e.LatencyFactor <= 0 || now-h.slowWindow < time.Second {
		return
	}
	n, sum := h.slowN, h.slowSum
	h.slowWindow, h.slowN, h.slowSum = now, 0, 0
	if n < 3 {
		return // a window with too little to say neither adds nor clears
	}
	if mean := sum / n; mean < e.LatencyFactor*median {
		h.slow = 0
	} else if h.slow++; h.slow >= e.LatencyWindows {
		h.slow = 0
		p.eject(b, ReasonLatency, fmt.Sprintf("first byte takes %.1f times the pool's median, %d windows in a row", mean/median, e.LatencyWindows), o, now)
	}
}

// judgeSuccessRates ejects backends whose success rate is far below the others' (Envoy,
// "success rate outlier"). A rate within 5 % of the mean is never an outlier: in a pool
// without failures any deviation is many standard deviations.
func (p *Pool) judgeSuccessRates(all []*Backend, o Options, now time.Duration) {
	const leastHosts, leastGap = 5, 0.05
	var n, sum, sq float64
	rate := func(b *Backend) (float64, bool) {
		ok, failed := b.health.counts()
		return ok / (ok + failed), ok+failed >= o.Eject.MinRequests && b.State() == Serving
	}
	for _, b := range all {
		b.mu.Lock()
		if r, valid := rate(b); valid {
			n, sum, sq = n+1, sum+r, sq+r*r
		}
		b.mu.Unlock()
	}
	if n < leastHosts {
		return
	}
	mean := sum / n
	dev := math.Sqrt(max(0, sq/n-mean*mean))
	limit := mean - max(o.Eject.SuccessRateStdev*dev, leastGap)
	for _, b := range all {
		b.mu.Lock()
		if r, valid := rate(b); valid && r < limit {
			p.eject(b, ReasonSuccessRate, fmt.Sprintf("success rate %.1f %%, the pool's mean is %.1f %%", r*100, mean*100), o, now)
		}
		b.mu.Unlock()
	}
}

// eject takes the backend out if the pool can spare it. b.mu and p.tickMu are held.
func (p *Pool) eject(b *Backend, why Reason, detail string, o Options, now time.Duration) {
	if o.Eject.Disabled && why != ReasonOperator {
		return
	}
	if b.State() == Serving && why != ReasonOperator && !p.mayEject(b, o) {
		return
	}
	h := &b.health
	length := o.Eject.BaseTime << min(h.times, 20)
	if length > o.Eject.MaxTime || length <= 0 {
		length = o.Eject.MaxTime
	}
	length += time.Duration((randFloat()*0.5 - 0.25) * float64(length))
	h.times++
	h.until = now + length
	p.setState(b, Ejected, why, detail, now)
	b.Totals.Ejected(why)
	p.events = append(p.events, Event{EventEjected, p, b, why, detail, length})
}

// mayEject reports whether one more backend may be out: never the only one, and at most
// MaxPercent of those that could serve at all.
func (p *Pool) mayEject(b *Backend, o Options) bool {
	total, out := 0, 0
	for _, x := range p.Backends() {
		if x.State() == Draining || x.Backup() != b.Backup() {
			continue
		}
		total++
		if s := x.State(); s == Ejected || s == HalfOpen {
			out++
		}
	}
	return total > 1 && float64(out+1) <= float64(total)*o.Eject.MaxPercent/100
}

// setState moves the backend. b.mu is held.
func (p *Pool) setState(b *Backend, s State, why Reason, detail string, now time.Duration) {
	b.outruns.Store(0)
	b.outrunAt.Store(0)
	b.wanted.Store(s == HalfOpen)
	b.anyProbe.Store(false)
	b.health.since, b.health.reason, b.health.detail = now, why, detail
	b.state.Store(uint32(s))
}

func (p *Pool) toHalfOpen(b *Backend, now time.Duration) {
	p.setState(b, HalfOpen, b.health.reason, b.health.detail, now)
	p.events = append(p.events, Event{Kind: EventHalfOpen, Pool: p, Backend: b, Reason: b.health.reason})
}

// probed takes in the result of a probe. b.mu is held.
func (p *Pool) probed(b *Backend, s *sample, o Options, now time.Duration) {
	if b.State() != HalfOpen {
		return
	}
	if s.outcome.Failed() {
		p.eject(b, b.health.reason, "the probe failed: "+s.outcome.String(), o, now)
		return
	}
	if r := p.relative(s); b.health.reason == ReasonLatency && o.Eject.LatencyFactor > 0 && r > o.Eject.LatencyFactor {
		p.eject(b, ReasonLatency, fmt.Sprintf("the probe took %.1f times the usual", r), o, now)
		return
	}
	p.restore(b, now)
}

// restore puts the backend back to work, slowly. b.mu is held.
func (p *Pool) restore(b *Backend, now time.Duration) {
	h := &b.health
	why := h.reason
	p.setState(b, Serving, ReasonNone, "", now)
	h.ramp, h.good = max(now, 1), now
	if h.brisk {
		// All of them start afresh: a ramp would only leave the load to the others.
		h.ramp, h.brisk = 0, false
	}
	h.slow, h.slowN, h.slowSum = 0, 0, 0
	clear(h.buckets[:])
	b.fails.Store(0)
	b.silent.Store(false) // at once, not at the next tick
	b.est.ok, b.est.all, b.est.declined = 0, 0, 0
	if why != ReasonLatency && why != ReasonHung {
		// How fast it was while it failed says little; how slow it was when it was
		// ejected for that does, and it has to show otherwise request by request.
		b.est.speed = min(b.est.speed, 1)
	}
	b.est.answered = now
	b.latency.forget()
	p.events = append(p.events, Event{Kind: EventRestored, Pool: p, Backend: b, Reason: why})
}

// endOutage lets every ejected backend be tried at once when a pool that had nobody left
// has its first answer again: what was learnt in an outage is over with it.
func (p *Pool) endOutage(all []*Backend, now time.Duration) {
	was := p.out
	p.out = p.Outage()
	if !was || p.out {
		return
	}
	for _, b := range all {
		b.mu.Lock()
		if b.State() == Ejected && b.health.reason != ReasonOperator {
			b.health.times = 0
			b.health.brisk = true
			p.toHalfOpen(b, now)
		}
		b.mu.Unlock()
	}
}

// panicCheck notes when too few backends can serve.
func (p *Pool) panicCheck(all []*Backend, o Options) {
	serving, total := 0, 0
	for _, b := range all {
		switch b.State() {
		case Serving:
			serving++
			total++
		case Draining:
		default:
			total++
		}
	}
	now := total > 0 && float64(serving) < o.PanicThreshold*float64(total)
	if p.panicked.Swap(now) != now {
		kind := EventCalm
		if now {
			kind = EventPanic
		}
		p.events = append(p.events, Event{Kind: kind, Pool: p, Detail: fmt.Sprintf("%d of %d backends can serve", serving, total)})
	}
}
