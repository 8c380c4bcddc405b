package balance

import "time"

// Drain is an operator's order that a backend takes no new requests. Those in flight end
// as they would. It stands until [Backend.Undrain], whatever happens to the backend.
type Drain struct {
	// Since is when it was given. Until is the deadline up to which sticky sessions still
	// reach the backend; 0 for not at all.
	Since, Until time.Duration

	out Reason // why the backend was out already; ReasonNone if it was serving
}

// Drain takes the backend out of use for new requests, with why (for people) as detail.
// Requests of sticky sessions still reach it until the given time; 0 is not at all. A
// second call changes the deadline. It reports whether another backend can serve.
func (b *Backend) Drain(until time.Duration, why string, now time.Duration) (others bool) {
	p := b.pool
	_ = p.operate(b, func() error {
		d := Drain{Since: now, Until: until}
		switch b.State() {
		case Draining:
			d.Since, d.out = b.drain.Since, b.drain.out
		case Ejected, HalfOpen:
			d.out = b.health.reason
		}
		b.drain = d
		b.stickyUntil.Store(int64(until))
		p.setState(b, Draining, ReasonOperator, why, d.Since)
		p.events = append(p.events, Event{Kind: EventDrained, Pool: p, Backend: b, Reason: ReasonOperator, Detail: why})
		return nil
	})
	return p.othersServe(b)
}

// Undrain ends a drain: the backend comes back by slow start, or as half open when it was
// out before. It reports whether the backend was draining.
func (b *Backend) Undrain(now time.Duration) bool {
	p, was := b.pool, false
	if p.Get(b.ID) != b {
		return false // it has left the pool
	}
	_ = p.operate(b, func() error {
		if b.State() != Draining {
			return nil
		}
		was = true
		b.stickyUntil.Store(0)
		if out := b.drain.out; out != ReasonNone {
			b.health.reason = out
			p.toHalfOpen(b, now)
		} else {
			p.restore(b, now)
		}
		b.drain = Drain{}
		return nil
	})
	return was
}

// KeepsSticky reports whether requests of sticky sessions may still be sent to the
// backend although it is draining. It takes no lock.
func (b *Backend) KeepsSticky(now time.Duration) bool {
	return b.State() == Draining && int64(now) < b.stickyUntil.Load()
}
