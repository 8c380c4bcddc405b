package balance

import (
	"math"
	"sync/atomic"
)

// census is what the backends of a pool add up to, counted by Tick, for policies that
// need a sum without looking at everyone.
type census struct {
	weighted atomic.Uint64 // how often a base weight has changed
	heaviest atomic.Uint64 // float64 bits: the largest weight; 0 before the first tick
	open     atomic.Uint64 // float64 bits: the weights of the open backends together
}

// take counts the backends.
func (c *census) take(all []*Backend) {
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

// heaviestWeight returns the largest weight of the pool's backends, at least w: a weight
// set since the last tick counts as well.
func (c *census) heaviestWeight(w float64) float64 {
	return max(w, math.Float64frombits(c.heaviest.Load()))
}

// publishBase writes the operator's weight, without slow start and advice, for the
// policies that build tables on it. Tables are made again only when it changes; what
// comes and goes is taken into account by [Backend.share]. b.mu is held.
func (b *Backend) publishBase(w float64) {
	bits := math.Float64bits(w + 0)
	if b.base.Swap(bits) != bits {
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
