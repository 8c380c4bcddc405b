package lbpro

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// recent is a histogram of the durations of about the last minute, for quantiles at a
// glance: buckets of a sixteenth to an eighth of their value, as in HDR histograms, in
// slots of recentSlot that are taken in turn. The zero value is ready. Recording is two
// atomic operations.
type recent struct {
	slot  atomic.Uint32
	turn  atomic.Int64 // number of the slot's period since the clock's origin
	slots [recentSlots][recentBuckets]atomic.Uint32
}

const (
	recentSlot  = 10 * time.Second
	recentSlots = 7 // the last is being filled
	// From 2^recentLow ns (16 µs) up to 2^recentHigh ns (2 minutes), eight buckets to
	// the octave; what lies outside counts as the first or the last.
	recentLow, recentHigh = 14, 37
	recentBuckets         = (recentHigh - recentLow) << 3
)

// recentIndex returns the bucket of a duration.
func recentIndex(d time.Duration) int {
	ns := uint64(max(d, 0))
	e := bits.Len64(ns) - 1
	switch {
	case e < recentLow:
		return 0
	case e >= recentHigh:
		return recentBuckets - 1
	}
	return (e-recentLow)<<3 | int(ns>>(e-3)&7)
}

// recentValue returns the middle of a bucket.
func recentValue(i int) time.Duration {
	e, step := recentLow+i>>3, time.Duration(i&7)
	return time.Duration(1)<<e + time.Duration(1)<<(e-3)*step + time.Duration(1)<<(e-4)
}

// record adds one duration.
func (r *recent) record(d time.Duration) {
	r.slots[r.slot.Load()%recentSlots][recentIndex(d)].Add(1)
}

// advance moves on to the slot of the given time. One goroutine at a time.
func (r *recent) advance(now time.Duration) {
	turn := int64(now / recentSlot)
	for behind := min(turn-r.turn.Load(), recentSlots); behind > 0; behind-- {
		next := (r.slot.Load() + 1) % recentSlots
		for i := range r.slots[next] {
			r.slots[next][i].Store(0)
		}
		r.slot.Store(next)
	}
	r.turn.Store(turn)
}

// quantiles returns the durations at the given quantiles, ascending and from 0 to 1, and
// false when there are none.
func (r *recent) quantiles(qs []float64, into []time.Duration) bool {
	var sum [recentBuckets]uint64
	total := uint64(0)
	for s := range r.slots {
		for i := range sum {
			n := uint64(r.slots[s][i].Load())
			sum[i] += n
			total += n
		}
	}
	if total == 0 {
		return false
	}
	i, seen := 0, sum[0]
	for k, q := range qs {
		for want := uint64(q * float64(total-1)); seen <= want; {
			i++
			seen += sum[i]
		}
		into[k] = recentValue(i)
	}
	return true
}
