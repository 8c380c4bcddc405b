package balance

import (
	"math"
	"time"
)

func (b *Backend) publishWeight(o Options, now time.Duration) {
	b.mu.Lock()
	b.publishWeightLocked(o, now)
	b.mu.Unlock()
}

// publishWeightLocked multiplies the operator's weight, advice and slow start. b.mu is
// held.
func (b *Backend) publishWeightLocked(o Options, now time.Duration) {
	storeFloat(&b.weight, b.configured*b.advised*b.rampLocked(o.SlowStart, now))
	b.publishBase(b.configured)
}

// rampLocked returns how far slow start has come, MinWeight to 1.
func (b *Backend) rampLocked(o SlowStartOptions, now time.Duration) float64 {
	h := &b.health
	if h.ramp == 0 || o.Window <= 0 || now-h.ramp >= o.Window {
		h.ramp = 0
		return 1
	}
	x := max(0, float64(now-h.ramp)/float64(o.Window))
	return max(o.MinWeight, math.Pow(x, 1/max(o.Aggression, 0.1)))
}

// Advise sets what others think of the path to the backend: a factor in (0, 1], 1 when
// they have nothing to say.
func (b *Backend) Advise(f float64, now time.Duration) {
	o := b.pool.Options()
	b.mu.Lock()
	b.advised = f
	b.publishWeightLocked(o, now)
	b.mu.Unlock()
}

// Rest keeps new requests away until the given time while others can serve, as the
// backend asked for with Retry-After.
func (b *Backend) Rest(until time.Duration) {
	b.mu.Lock()
	b.restUntil = max(b.restUntil, until)
	b.resting.Store(true)
	b.mu.Unlock()
}

// Configure sets what the configuration says of the backend: its weight, whether it is a
// backup, and the most requests in flight (0 for no limit). A weight that an operator has
// set since stays.
func (b *Backend) Configure(weight float64, backup bool, limit int, now time.Duration) {
	o := b.pool.Options()
	b.backup.Store(backup)
	b.limit.Store(int64(limit))
	b.mu.Lock()
	if !b.overridden {
		b.configured = weight
	}
	b.fromConfig = weight
	b.publishWeightLocked(o, now)
	b.mu.Unlock()
}

// Failed notes the text of the backend's latest failure, for people.
func (b *Backend) Failed(text string, now time.Duration) {
	b.mu.Lock()
	b.health.lastError, b.health.lastErrAt = text, now
	b.mu.Unlock()
}
