package balance

import (
	"sync"
	"sync/atomic"
	"time"
)

// sample is what one attempt leaves behind for Tick.
type sample struct {
	route   RouteKey
	at      time.Duration // when it was answered or failed
	took    time.Duration // start to first byte or failure
	rest    time.Duration // how long the rest of the answer was waited for
	load    int32
	outcome Outcome
	probe   bool
	part    part
}

// part says what of an answer a sample tells.
type part uint8

const (
	partWhole part = iota // all of it
	partFirst             // up to the first byte: it goes on, so rest is not known yet
	partRest              // the rest: the first byte had a sample of its own
	partNone              // that it came, but not how long it took the backend
)

// ringSize bounds what one shard keeps between two ticks. Past it the oldest sample is
// overwritten: the estimates are averages and live with a part of a fast stream;
// failures and probes are also counted apart and never lost.
const ringSize = 64

// shard is one stripe of a backend's request path. Attempts are spread over the shards
// so that processors seldom meet on one lock.
type shard struct {
	mu         sync.Mutex
	head, tail *Attempt // waiting for a first byte, oldest first
	ring       [ringSize]sample
	written    uint64 // samples ever written; ring[written%ringSize] is next
	drained    uint64 // samples seen by Tick
	_          [24]byte
}

func (s *shard) push(a *Attempt) {
	a.prev, a.next = s.tail, nil
	if s.tail != nil {
		s.tail.next = a
	} else {
		s.head = a
	}
	s.tail = a
	a.waiting = true
}

func (s *shard) remove(a *Attempt) {
	if !a.waiting {
		return
	}
	if a.prev != nil {
		a.prev.next = a.next
	} else {
		s.head = a.next
	}
	if a.next != nil {
		a.next.prev = a.prev
	} else {
		s.tail = a.prev
	}
	a.prev, a.next, a.waiting = nil, nil, false
}

func (s *shard) write(v sample) {
	s.ring[s.written%ringSize] = v
	s.written++
}

// oldest returns since when the attempt waits that has waited longest for a first byte, and
// false when none waits.
func (b *Backend) oldest() (time.Duration, bool) {
	var first time.Duration
	found := false
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		if s.head != nil && (!found || s.head.sent < first) {
			first, found = s.head.sent, true
		}
		s.mu.Unlock()
	}
	return first, found
}

// eachWaiting calls f with every attempt that waits for a first byte, up to limit, with
// shard.mu held.
func (b *Backend) eachWaiting(limit int, f func(*Attempt)) {
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		for a := s.head; a != nil && limit > 0; a = a.next {
			f(a)
			limit--
		}
		s.mu.Unlock()
	}
}

// counter is an atomic alone on its cache line.
type counter struct {
	atomic.Int64
	_ [56]byte
}
