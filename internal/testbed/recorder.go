package testbed

import (
	"sync"
	"time"
)

// SeriesStep is the width of a bucket of [Stats.Arrivals].
const SeriesStep = 10 * time.Millisecond

// maxSeries bounds the arrival series, to some twenty minutes.
const maxSeries = 1 << 17

// Stats is what a backend has seen since its epoch.
type Stats struct {
	Received int64 // requests whose header was read, whatever became of them
	Answered int64 // answered after the work was done
	Failed   int64 // answered at once by an Error fault, or because the queue was full
	Hung     int64 // swallowed by a Hang
	Reset    int64 // ended by a TCP RST
	Cut      int64 // connection closed without an answer, by Refuse or Restart
	Aborted  int64 // the client went away before its answer; counts beside Hung too
	Busy     int   // workers at work now
	Waiting  int   // requests in the queue now
	// Arrivals counts requests received in successive periods of SeriesStep from the
	// epoch on; it ends with the last that has any, at most 2^17 of them.
	Arrivals []uint32
}

// Between returns the number of requests received from one moment to another, to
// the resolution of SeriesStep.
func (s Stats) Between(from, to time.Duration) int64 {
	var n int64
	lo, hi := max(0, int(from/SeriesStep)), min(len(s.Arrivals), int(to/SeriesStep))
	for i := lo; i < hi; i++ {
		n += int64(s.Arrivals[i])
	}
	return n
}

// recorder counts. Requests still inside when it is emptied are counted with the new
// period when they end, which is why [Backend.Begin] wants an idle backend.
type recorder struct {
	mu sync.Mutex
	s  Stats
}

func (r *recorder) arrival(at time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.s.Received++
	i := int(at / SeriesStep)
	if at < 0 || i >= maxSeries {
		return
	}
	for len(r.s.Arrivals) <= i {
		r.s.Arrivals = append(r.s.Arrivals, 0)
	}
	r.s.Arrivals[i]++
}

func (r *recorder) count(f func(*Stats)) {
	r.mu.Lock()
	f(&r.s)
	r.mu.Unlock()
}

func (r *recorder) snapshot() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.s
	s.Arrivals = append([]uint32(nil), s.Arrivals...)
	return s
}

func (r *recorder) reset() { r.count(func(s *Stats) { *s = Stats{} }) }
