package flow

import (
	"hash/maphash"
	"sync"

	"github.com/axiomhq/hyperloglog"
)

// secondsPending is how many seconds of totals a shard keeps for a tick that
// is late.
const secondsPending = 64

// Shard takes in the records of one worker. Workers that each have their own
// do not wait for one another; a tick takes a shard's lock for some
// microseconds. Safe for concurrent use.
type Shard struct {
	mask    Mask
	seed    maphash.Seed
	mu      sync.Mutex
	table   *Table
	live    *sketches
	spare   *sketches // empty; takes the place of live at the next pane
	second  int64     // of current
	current LegTotals
	pending [secondsPending]secondTotals
	waiting int
	total   LegTotals
}

type secondTotals struct {
	second int64
	totals LegTotals
}

// Add takes in records, in the order in which they were received. It masks
// the addresses in them; the slice can be used again afterwards.
//
// Once the table has seen as many flows as it holds, Add allocates nothing.
// It takes constant time for each record.
func (s *Shard) Add(records []Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range records {
		r := &records[i]
		if second := r.ReceivedMilliseconds / 1000; second > s.second {
			s.nextSecond(second)
		}
		if r.Leg != LegUpstream {
			client, _ := r.Client()
			s.live.addClient(s.seed, client)
		}
		s.mask.Apply(r)
		isNew, duplicate := s.table.Update(r)
		if duplicate {
			continue
		}
		s.current[min(int(r.Leg), legs-1)].addRecord(r, isNew)
		s.live.add(r)
	}
}

// nextSecond puts the totals of the second that is over aside for the tick.
// When a tick is very late, the last second that fits takes in the rest.
func (s *Shard) nextSecond(second int64) {
	if s.second != 0 {
		s.total.add(&s.current)
		if s.waiting == len(s.pending) {
			s.waiting--
		} else {
			s.pending[s.waiting] = secondTotals{}
		}
		p := &s.pending[s.waiting]
		p.second = s.second
		p.totals.add(&s.current)
		s.waiting++
		s.current = LegTotals{}
	}
	s.second = second
}

// takeSeconds hands the totals of seconds before now to take.
func (s *Shard) takeSeconds(now int64, take func(second int64, t *LegTotals)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now > s.second {
		s.nextSecond(now)
	}
	for i := range s.waiting {
		take(s.pending[i].second, &s.pending[i].totals)
	}
	s.waiting = 0
}

// takeSketches copies what was collected for the pane that began at start,
// and begins the next one.
func (s *Shard) takeSketches(start int64) *pane {
	s.mu.Lock()
	s.live, s.spare = s.spare, s.live
	done := s.spare
	s.mu.Unlock()
	p := paneOf(start, done)
	done.reset()
	return p
}

// peekTop copies the top list that is being collected.
func (s *Shard) peekTop(d Dimension) *topSummary {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live.top[d].summary()
}

// peekDistinct copies the sketch of clients that is being collected.
func (s *Shard) peekDistinct() *hyperloglog.Sketch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live.distinct.Clone()
}
