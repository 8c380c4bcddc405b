package balance

import (
	"math"
	"sync/atomic"
	"time"
)

// census is what the backends of a pool add up to, counted by Tick, for policies that
// need a sum without looking at everyone.
type census struct {
	weighted atomic.Uint64 // how often a base weight has changed
	heaviest atomic.Uint64 // float64 bits: the largest weight; 0 before the first tick
	open     atomic.Uint64 // float64 bits: the weights of the open backends together
	now      atomic.Int64  // when it was taken

	// Guarded by Pool.tickMu.
	usualPeak    float64 // mean of the backends' peak latencies in seconds, 0 if unknown
	peakSum      float64
	peakBackends float64
}

// at returns the time of the last count, for pickers, which have no clock.
func (c *census) at() time.Duration { return time.Duration(c.now.Load()) }

// addPeak counts one backend's peak latency for the next take.
func (c *census) addPeak(seconds float64) {
	c.peakSum += seconds
	c.peakBackends++
}

// take counts the backends. p.tickMu is held.
func (c *census) take(all []*Backend, now time.Duration) {
	c.now.Store(int64(now))
	if c.peakBackends > 0 {
		c.usualPeak = c.peakSum / c.peakBackends
	}
	c.peakSum, c.peakBackends = 0, 0
	heaviest, open := 0.0, 0.0
	for _, b := range all {
		w := b.Weight()
		heaviest = max(heaviest, w)
		if !b.Backup() && b.Open() {
			open += w
		}
	}
	storeFloat(&c.heaviest, heaviest)
	storeFloat(&c.open, open)
}

// heaviestWeight returns the largest weight of the pool's backends, 1 before it is known.
func (c *census) heaviestWeight() float64 { return orElse(c.heaviest.Load(), 1) }

// raise counts a weight that was set since the last tick.
func (c *census) raise(w float64) {
	for {
		old := c.heaviest.Load()
		if w <= math.Float64frombits(old) || c.heaviest.CompareAndSwap(old, math.Float64bits(w)) {
			return
		}
	}
}

// publishBase writes the operator's weight, without slow start and advice, for the
// policies that build tables on it. Tables are made again only when it changes; what
// comes and goes is taken into account by [Backend.share]. b.mu is held.
func (b *Backend) publishBase(w float64) {
	bits := math.Float64bits(w + 0)
	if b.base.Swap(bits) != bits {
		b.pool.census.raise(w)
		b.pool.census.weighted.Add(1)
	}
}

// Base returns the operator's weight: [Backend.Weight] without slow start and advice.
func (b *Backend) Base() float64 { return math.Float64frombits(b.base.Load()) }

// share returns how much of its base weight the backend takes now, 0 to 1.
func (b *Backend) share() float64 {
	w, base := b.weight.Load(), b.base.Load()
	if w == base {
		return 1
	}
	if base == 0 {
		return 0
	}
	return min(1, math.Float64frombits(w)/math.Float64frombits(base))
}
