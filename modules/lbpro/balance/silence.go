package balance

import (
	"fmt"
	"time"
)

// listen finds the backends that are silent: requests wait there, and nothing has been
// answered for several times the usual gap. The evidence is the backend's: requests that
// are merely long do not count, because a kind of request that is known to take long is
// not overdue, and a kind that is not known proves nothing. When most backends with
// waiting requests are silent at once, the cause is shared (this machine, the network,
// the database behind all of them) and none is called silent.
func (p *Pool) listen(all []*Backend, o Options, now time.Duration) {
	p.kindsLate = p.countKindsLate(all, now)
	busy, quiet := 0, 0
	for _, b := range all {
		if b.waiting.Load() > 0 || b.outruns.Load() > 0 {
			busy++
			if p.quiet(b, now) > 0 {
				quiet++
			}
		}
	}
	shared := quiet > 1 && 2*quiet > busy
	for _, b := range all {
		length := time.Duration(0)
		if !shared {
			length = p.quiet(b, now)
		}
		if (length > 0) != b.silent.Load() {
			b.silent.Store(length > 0)
			if length == 0 && b.State() == Serving {
				b.wanted.Store(false)
			}
		}
		p.sound(b, length, now)
		if length >= o.Eject.Hang && o.Eject.Hang > 0 && b.State() == Serving {
			b.mu.Lock()
			waiting := fmt.Sprintf("%d requests waiting", b.waiting.Load())
			if b.waiting.Load() == 0 {
				waiting = "its requests had to be answered by others"
			}
			p.eject(b, ReasonHung, fmt.Sprintf("%s, no answer for %v, usually every %.0f ms",
				waiting, length.Round(time.Millisecond), b.est.gap*1000), o, now)
			b.mu.Unlock()
		}
	}
}

// sound lets a single request through to a silent backend on which nothing waits any
// more, to see whether it is back: hedges have taken its requests over, so it cannot
// show it otherwise. The intervals grow with the silence.
func (p *Pool) sound(b *Backend, length, now time.Duration) {
	if length == 0 || b.waiting.Load() > 0 || b.State() != Serving || b.wanted.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if wait := min(max(soundLeast, length*soundGrowth/100), soundMost); now-b.health.sounded >= wait {
		b.health.sounded = now
		b.anyProbe.Store(false)
		b.wanted.Store(true)
	}
}

// quiet returns for how long the backend has been silent, 0 when it is not.
func (p *Pool) quiet(b *Backend, now time.Duration) time.Duration {
	b.mu.Lock()
	e := &b.est
	answered := e.answered
	usual := time.Duration((e.gap + 4*e.gapDev) * silentGaps * float64(time.Second))
	b.mu.Unlock()
	if at := b.outrunAt.Load(); at != 0 {
		// Requests have been answered elsewhere in the time it did not answer them.
		return now - max(time.Duration(at), answered)
	}
	// Only what is overdue shows silence: a long poll that has waited for a minute does
	// not make a minute of it when the next request is a little late.
	first, late := p.late(b, now)
	length := now - max(first, answered)
	if !late || length < silentFloor || length < usual {
		return 0
	}
	return length
}

// late reports whether enough of the requests that wait at b are overdue for their kind,
// and when the first of these began. Those known by their prefix only count while they are
// overdue at b alone: when they are elsewhere too it is the requests that take long, such
// as the first slow queries of a path that is usually fast.
func (p *Pool) late(b *Backend, now time.Duration) (first time.Duration, late bool) {
	exact, kind := p.overdueAt(b, now)
	if p.kindsLate > 1 {
		kind = overdue{}
	}
	switch {
	case exact.evidence+kind.evidence <= 0.99:
		return 0, false
	case kind.evidence == 0:
		return exact.first, true
	case exact.evidence == 0:
		return kind.first, true
	}
	return min(exact.first, kind.first), true
}

// overdue is what the overdue requests at a backend add up to.
type overdue struct {
	evidence float64
	first    time.Duration // start of the oldest of them
}

func (o *overdue) add(evidence float64, start time.Duration) {
	if o.evidence == 0 || start < o.first {
		o.first = start
	}
	o.evidence += evidence
}

// overdueAt adds up the overdue requests at b, by what they are known by.
func (p *Pool) overdueAt(b *Backend, now time.Duration) (exact, kind overdue) {
	b.eachWaiting(16, func(a *Attempt) {
		x := p.routes.expect(a.Route)
		switch {
		case x.evidence == 0 || (now-a.sent).Seconds() <= x.overdue:
		case x.evidence < 1:
			kind.add(x.evidence, a.sent)
		default:
			exact.add(x.evidence, a.sent)
		}
	})
	return exact, kind
}

// countKindsLate returns at how many backends requests are overdue that are known by their
// prefix only.
func (p *Pool) countKindsLate(all []*Backend, now time.Duration) (n int) {
	for _, b := range all {
		if b.waiting.Load() == 0 {
			continue
		}
		if _, kind := p.overdueAt(b, now); kind.evidence > 0 {
			n++
		}
	}
	return n
}

// findHedges collects the requests that should be tried elsewhere as well: overdue for
// their kind, on a backend that is silent, ejected, being probed, or known to be slow.
func (p *Pool) findHedges(all []*Backend, now time.Duration, median float64) {
	if len(all) < 2 {
		return
	}
	for _, b := range all {
		if b.waiting.Load() == 0 {
			continue
		}
		reason := HedgeNone
		b.mu.Lock()
		slower := 1.0
		if b.State() == Serving {
			slower = min(max(b.est.speed/median, 1), mostPatience)
		}
		switch {
		case b.State() == Ejected && b.health.reason == ReasonHung:
			reason = HedgeHung
		case b.silent.Load() || b.outruns.Load() > 0:
			reason = HedgeSilent
		case b.State() != Serving || (b.est.seen >= routeKnown && b.est.speed > laggard*median):
			reason = HedgeSlow
		}
		b.mu.Unlock()
		if reason == HedgeNone {
			continue
		}
		b.eachWaiting(hedgeScan, func(a *Attempt) {
			if a.hedged != HedgeNone || a.Hedge == nil {
				return
			}
			x := p.routes.expect(a.Route)
			limit := x.overdue
			if a.probe {
				// It is there to find out, and should not suffer for it; but one at a backend
				// that is merely slow must come to its end, or that would pass for hung.
				limit = x.mean * slower
			}
			if reason != HedgeHung && (x.evidence == 0 || (now-a.sent).Seconds() < limit) {
				return
			}
			if reason != HedgeHung && x.evidence < 1 && p.kindsLate > 1 {
				return // the same kind takes long elsewhere too
			}
			a.hedged = reason
			p.hedges = append(p.hedges, hedgeCall{a.Hedge, reason})
		})
	}
}
