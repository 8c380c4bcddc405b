package flow

import (
	"cmp"
	"hash/maphash"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// Options bounds a Monitor. Zero fields take the defaults.
type Options struct {
	// Shards is how many workers add records at once. Default GOMAXPROCS.
	Shards int
	// Table bounds the flow table. Its limit is for all shards together, but
	// each may have 64 flows whatever the others have.
	Table TableOptions
	// TopK is how many keys each top list counts. Default 1,000; at most
	// 100,000. The error of a list is at most its total over TopK.
	TopK int
	// Mask is applied to addresses before they are stored. Default DefaultMask;
	// NoMask keeps them.
	Mask Mask
	// Names resolves backends in top lists. May be nil.
	Names *Names
}

// Monitor keeps what is known of flows: the table of active ones, totals and
// top lists of the last minute, ten minutes and hour. Workers add records
// through their Shards. Safe for concurrent use.
//
// Time is given by the records' time of receipt and by Tick; the Monitor has
// no clock of its own.
type Monitor struct {
	options Options
	shards  []*Shard
	flows   atomic.Int64 // in the tables of all shards

	mu        sync.Mutex
	rings     [windows]ring
	history   history
	paneStart int64
	ticked    int64 // second of the last tick
}

// NewMonitor returns an empty Monitor.
func NewMonitor(o Options) *Monitor {
	if o.Shards <= 0 {
		o.Shards = runtime.GOMAXPROCS(0)
	}
	if o.TopK <= 0 {
		o.TopK = 1000
	}
	o.TopK = min(o.TopK, 100_000)
	if o.Mask == (Mask{}) {
		o.Mask = DefaultMask
	}
	if o.Names == nil {
		o.Names = NewNames(1)
	}
	if o.Table.Flows <= 0 {
		o.Table.Flows = 100_000
	}
	m := &Monitor{options: o}
	m.history.k = o.TopK
	for w := range m.rings {
		m.rings[w].step = windowStep[w]
	}
	seed := maphash.MakeSeed() // the same for all, so that their sketches merge
	for range o.Shards {
		s := &Shard{mask: o.Mask, seed: seed, live: newSketches(o.TopK), spare: newSketches(o.TopK)}
		s.table = m.newTable()
		m.shards = append(m.shards, s)
	}
	return m
}

// newTable returns a table that shares the limit with those of all shards:
// most exporters' datagrams reach the same worker, so equal parts would leave
// the others' empty.
func (m *Monitor) newTable() *Table {
	t := NewTable(m.options.Table)
	t.shared = &m.flows
	return t
}

// Shard returns the shard of worker i. Numbers past the last one share.
func (m *Monitor) Shard(i int) *Shard { return m.shards[i%len(m.shards)] }

// sweepsPerTable is in how many ticks the whole table is looked at for flows
// that are over.
const sweepsPerTable = 8

// Tick takes over what the shards collected, once a second or so, and appends
// to dst the flows that are over or have been active for long: what an
// exporter reports.
func (m *Monitor) Tick(dst []Record, now time.Time) []Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	second := now.Unix()
	m.ticked = max(m.ticked, second)
	for _, s := range m.shards {
		s.takeSeconds(second, func(at int64, t *LegTotals) {
			for w := range m.rings {
				m.rings[w].add(at, t)
			}
		})
		dst = s.sweep(dst, now.UnixMilli())
	}
	m.takePanes(second)
	return dst
}

// takePanes takes over the panes that are over at second now. m.mu must be
// held.
func (m *Monitor) takePanes(now int64) {
	start := now - now%paneSeconds[LastMinute]
	if start <= m.paneStart {
		return
	}
	m.paneStart = start
	var all []*pane
	for _, s := range m.shards {
		all = s.takePanes(all, now)
	}
	slices.SortStableFunc(all, func(a, b *pane) int { return cmp.Compare(a.start, b.start) })
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].start == all[0].start {
			n++
		}
		m.history.push(mergePanes(m.options.TopK, all[0].start, all[:n]), now)
		all = all[n:]
	}
}

func (s *Shard) sweep(dst []Record, now int64) []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.Sweep(dst, now, s.table.size/sweepsPerTable+1)
}

// Drain removes all flows and appends them to dst with EndForced as their
// reason, for a last report before the end.
func (m *Monitor) Drain(dst []Record) []Record {
	for _, s := range m.shards {
		s.mu.Lock()
		from := len(dst)
		dst = s.table.AppendFlows(dst, s.table.Len(), nil)
		for i := range dst[from:] {
			if r := &dst[from+i]; !ended(r.FlowEndReason) {
				r.FlowEndReason = EndForced
			}
		}
		s.table.clear()
		s.mu.Unlock()
	}
	return dst
}

// Status is the state of a Monitor.
type Status struct {
	Flows       int    `json:"flows"`
	FlowsLimit  int    `json:"flows_limit"`
	Evicted     uint64 `json:"evicted"`
	Duplicates  uint64 `json:"duplicates"`
	MemoryBytes int64  `json:"memory_bytes"`
	// Other is what evicted flows had counted.
	Other Totals `json:"other"`
	// Total is everything since the Monitor was made.
	Total LegTotals `json:"-"`
}

// Status returns the state of the Monitor.
func (m *Monitor) Status() Status {
	st := Status{MemoryBytes: m.sketchBytes(), FlowsLimit: m.options.Table.Flows}
	for _, s := range m.shards {
		s.mu.Lock()
		st.Flows += s.table.Len()
		evicted, other := s.table.Evicted()
		st.Evicted += evicted
		st.Other.Add(&other)
		st.Duplicates += s.table.Duplicates()
		st.MemoryBytes += s.table.MemoryBytes()
		st.Total.add(&s.total)
		st.Total.add(&s.current)
		s.mu.Unlock()
	}
	return st
}

// sketchBytes is about what top lists, sketches and windows take.
func (m *Monitor) sketchBytes() int64 {
	const distinct = 1 << 14
	k := int64(m.options.TopK)
	live := int64(dimensions)*(k*int64(unsafe.Sizeof(slotCounter{})+unsafe.Sizeof(heapItem{}))+int64(indexLength(int(k)))*4) + distinct
	n := int64(len(m.shards)) * (2*live + int64(unsafe.Sizeof(Shard{})))
	m.mu.Lock()
	defer m.mu.Unlock()
	for w := range m.history.levels {
		for _, list := range [][]*pane{m.history.levels[w].complete, m.history.levels[w].building} {
			for _, p := range list {
				n += distinct
				for _, t := range p.top {
					n += int64(cap(t.counters)) * int64(unsafe.Sizeof(Counter{}))
				}
			}
		}
	}
	return n + int64(unsafe.Sizeof(m.rings))
}
