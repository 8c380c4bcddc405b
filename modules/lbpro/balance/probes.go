package balance

import (
	"math"
	"sync/atomic"
	"time"
)

// probePool keeps the newest answers of backends to probes. It is a fixed set of slots of
// atomics: a reader that meets a writer may see half of one answer and half of another,
// which makes one choice a little worse and nothing wrong.
type probePool struct {
	slots [probeSlots]probeSlot
	turn  atomic.Uint32
}

// probeSlots is the size of the pool: 16 in the paper, which found more of no use.
const probeSlots = 16

type probeSlot struct {
	backend atomic.Pointer[Backend] // nil when free
	rif     atomic.Int32            // requests in flight there, with those sent since
	uses    atomic.Int32
	at      atomic.Int64  // time.Duration
	latency atomic.Uint64 // float64 bits, seconds
}

// put stores an answer in a free slot, or else in that of the oldest answer. A backend's
// older answer is replaced.
func (p *probePool) put(b *Backend, rif int32, latency float64, now time.Duration) {
	var to *probeSlot
	oldest := int64(math.MaxInt64)
	for i := range p.slots {
		s := &p.slots[i]
		at, x := s.at.Load(), s.backend.Load()
		switch {
		case x == b:
			to, oldest = s, math.MinInt64
		case x == nil && oldest != math.MinInt64:
			to, oldest = s, math.MinInt64+1
		case at < oldest:
			to, oldest = s, at
		}
	}
	to.backend.Store(nil)
	to.rif.Store(rif)
	to.uses.Store(0)
	to.at.Store(int64(now))
	to.latency.Store(math.Float64bits(latency))
	to.backend.Store(b)
}

// used counts a use of the slot's answer: the request now adds to the backend's load, and
// an answer is good for most uses only.
func (s *probeSlot) used(b *Backend, most int32) {
	s.rif.Add(1)
	if s.uses.Add(1) >= most {
		s.backend.CompareAndSwap(b, nil)
	}
}

// drop removes one answer: in turn the oldest, and the worst, which is the one of most
// requests in flight if any is above limit, else the slowest.
func (p *probePool) drop(limit float64) {
	oldest, worst := -1, -1
	var at int64
	var hot bool
	var load float64
	for i := range p.slots {
		s := &p.slots[i]
		b := s.backend.Load()
		if b == nil {
			continue
		}
		if x := s.at.Load(); oldest < 0 || x < at {
			oldest, at = i, x
		}
		rif := float64(s.rif.Load()) / max(b.Weight(), 1e-9)
		h, l := rif > limit, math.Float64frombits(s.latency.Load())
		if h {
			l = rif
		}
		if worst < 0 || h && !hot || h == hot && l > load {
			worst, hot, load = i, h, l
		}
	}
	if oldest < 0 {
		return
	}
	i := oldest
	if p.turn.Add(1)%2 == 0 {
		i = worst
	}
	p.slots[i].backend.Store(nil)
}
