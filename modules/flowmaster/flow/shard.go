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
	spare   *sketches // takes the place of live at the next pane
	pane    int64     // when the pane of live began, in Unix seconds; 0 before any
	sealed  int64     // when that of spare began; 0 when spare is empty
	second  int64     // of current
	current LegTotals
	pending [secondsPending]secondTotals
	waiting int
	total   LegTotals
	touched uint32 // keeps Table.touch from being optimized away
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
	for len(records) > 0 {
		second := records[0].ReceivedMilliseconds / 1000
		if second > s.second {
			s.nextSecond(second)
		}
		n := 1
		for n < min(len(records), addBatch) && records[n].ReceivedMilliseconds/1000 == second {
			n++
		}
		s.addBatch(records[:n])
		records = records[n:]
	}
}

// addBatch is how many records Add looks up at once.
const addBatch = 32

// addBatch adds up to addBatch records that were received in one second.
func (s *Shard) addBatch(records []Record) {
	var hashes [addBatch]uint32
	for i := range records {
		r := &records[i]
		if r.Leg != LegUpstream {
			client, _ := r.Client()
			s.live.addClient(s.seed, client)
		}
		s.mask.Apply(r)
		hashes[i] = s.table.hash(r)
	}
	for i := range records {
		s.touched += s.table.touch(hashes[i])
	}
	for i := range records {
		r := &records[i]
		isNew, duplicate := s.table.update(r, hashes[i])
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
	s.nextPane(second - second%paneSeconds[LastMinute])
}

// nextPane seals the pane that is over, for the tick. Should the tick not have
// come for the one before, both stay together.
func (s *Shard) nextPane(start int64) {
	if start <= s.pane {
		return
	}
	if s.pane != 0 && s.sealed == 0 {
		s.live, s.spare = s.spare, s.live
		s.sealed = s.pane
	}
	s.pane = start
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

// takePanes appends what was collected in panes that are over at second now.
func (s *Shard) takePanes(dst []*pane, now int64) []*pane {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range 2 { // the sealed one, and what had no room to be
		if s.sealed != 0 {
			dst = append(dst, paneOf(s.sealed, s.spare))
			s.spare.reset()
			s.sealed = 0
		}
		s.nextPane(now - now%paneSeconds[LastMinute])
	}
	return dst
}

// peekTop appends the top lists that are being collected.
func (s *Shard) peekTop(dst []*topSummary, d Dimension) []*topSummary {
	s.mu.Lock()
	defer s.mu.Unlock()
	dst = append(dst, s.live.top[d].summary())
	if s.sealed != 0 {
		dst = append(dst, s.spare.top[d].summary())
	}
	return dst
}

// peekDistinct adds the clients that are being collected.
func (s *Shard) peekDistinct(to *hyperloglog.Sketch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mergeDistinct(to, s.live.distinct)
	if s.sealed != 0 {
		mergeDistinct(to, s.spare.distinct)
	}
}
