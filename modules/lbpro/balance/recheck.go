package balance

import "time"

// recheck lets a single request through to a slow backend that nobody asks any more, to
// see whether it is fast again. While the others have room the choice alone would find
// that out late, because it compares scores and a slow backend's falls slowly. The request
// is one that may be repeated, and should it become overdue a hedge answers it. Where there
// is none of these, or there are no hedges, a client pays for the look, so that one comes
// later. Each answer that confirms the slowness makes the next wait longer, one that does
// not makes it short (see [estimate.believe]).
func (p *Pool) recheck(b *Backend, hedged bool, now time.Duration, median float64) {
	if b.State() != Serving || b.silent.Load() || b.resting.Load() || b.backup.Load() ||
		b.inflight.Load() > 0 || b.Weight() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e := &b.est
	if b.wanted.Load() {
		if now-b.health.sounded > probePatience {
			b.anyProbe.Store(true)
		}
		return
	}
	wait := e.patience()
	if hedged {
		wait /= 2
	}
	if e.speed <= slowerNoise*median || now-max(e.last, b.health.sounded) < wait {
		return
	}
	b.health.sounded = now
	b.anyProbe.Store(false)
	b.wanted.Store(true)
}
