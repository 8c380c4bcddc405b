package flow

import (
	"hash/maphash"
	"math"
	"sync/atomic"
	"time"
)

// tableKey is what makes two records belong to one flow: where they were
// seen, and between which ends.
type tableKey struct {
	source, destination, exporter     Addr
	domain                            uint32
	sourcePort, destinationPort, vlan uint16
	protocol                          uint8
	kind                              uint8 // source and leg
}

func keyOf(r *Record) tableKey {
	return tableKey{
		source: r.SourceAddress, destination: r.DestinationAddress, exporter: r.Exporter,
		domain: r.ObservationDomainID, sourcePort: r.SourceTransportPort, destinationPort: r.DestinationTransportPort,
		vlan: r.VlanID, protocol: r.ProtocolIdentifier, kind: uint8(r.Source)<<4 | uint8(r.Leg),
	}
}

// entry is one active flow: the record adds up what was reported of it.
type entry struct {
	record Record
	since  int64 // when it was first reported, or reported on, in milliseconds
	hash   uint32
	used   bool
}

// chunkSize is how many entries are allocated at a time, so that a table
// grows without copying and without a spare half.
const chunkSize = 1024

// minIndex is the length of the index of an empty table.
const minIndex = 256

// Table holds active flows, at most as many as its limit. When it is full, a
// flow that has been quiet for long makes room for a new one; what it counted
// is added to Other. Records cost about 190 bytes each. Not safe for
// concurrent use.
//
// It is a hash table with open addressing over a slab of entries: an update
// touches the index and one entry, takes constant time and allocates nothing
// but new chunks.
type Table struct {
	limit      int
	idle       int64 // milliseconds
	activeFor  int64
	seed       maphash.Seed
	index      []uint32 // entry number + 1; 0 is empty
	chunks     []*[chunkSize]entry
	free       []uint32 // numbers of unused entries below size
	size       int      // entries ever used
	active     int
	evictHand  int
	sweepHand  int
	evicted    uint64
	duplicates uint64
	other      Totals
	shared     *atomic.Int64 // flows of all tables that share the limit; may be nil
}

// TableOptions bounds a Table. Zero fields take the defaults.
type TableOptions struct {
	// Flows is the limit. Default 100,000; at most 2^30.
	Flows int
	// IdleTimeout is how long a flow is kept that nothing is reported of.
	// Default 60 s.
	IdleTimeout time.Duration
	// ActiveTimeout is after how long a flow that goes on is reported and its
	// counts begin anew. Default 5 min; negative: never.
	ActiveTimeout time.Duration
}

// NewTable returns an empty Table.
func NewTable(o TableOptions) *Table {
	if o.Flows <= 0 {
		o.Flows = 100_000
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = time.Minute
	}
	if o.ActiveTimeout == 0 {
		o.ActiveTimeout = 5 * time.Minute
	}
	t := &Table{
		limit: min(o.Flows, 1<<30), idle: o.IdleTimeout.Milliseconds(), activeFor: o.ActiveTimeout.Milliseconds(),
		seed: maphash.MakeSeed(), index: make([]uint32, minIndex),
	}
	if o.ActiveTimeout < 0 {
		t.activeFor = math.MaxInt64
	}
	return t
}

// Len returns how many flows are active.
func (t *Table) Len() int { return t.active }

// Evicted returns how many flows were pushed out of the full table, and what
// they had counted.
func (t *Table) Evicted() (flows uint64, totals Totals) { return t.evicted, t.other }

// Duplicates returns how many records were left out because the exporter had
// reported the same packets in the other direction.
func (t *Table) Duplicates() uint64 { return t.duplicates }

// MemoryBytes returns about how much memory the table takes.
func (t *Table) MemoryBytes() int64 {
	return int64(len(t.chunks))*chunkSize*entryBytes + int64(cap(t.index)+cap(t.free))*4
}

func (t *Table) entry(n int) *entry { return &t.chunks[n/chunkSize][n%chunkSize] }

// Update adds a record to its flow. isNew is true if the flow was not in the
// table. duplicate is true for a record that must not be counted: an exporter
// that meters both where packets enter and where they leave reports each
// twice, and only the direction that came first counts.
func (t *Table) Update(r *Record) (isNew, duplicate bool) {
	return t.update(r, t.hash(r))
}

func (t *Table) hash(r *Record) uint32 { return uint32(maphash.Comparable(t.seed, keyOf(r))) }

// touch reads what an update of a record with that hash will read. Done for
// several records before they are updated, it lets the processor wait for
// memory once instead of for each. The result means nothing.
func (t *Table) touch(hash uint32) uint32 {
	n := t.index[hash&uint32(len(t.index)-1)]
	if n == 0 {
		return 0
	}
	e := t.entry(int(n - 1))
	return e.hash + uint32(e.record.OctetDeltaCount)
}

// update is Update for a record of which the hash is known.
func (t *Table) update(r *Record, hash uint32) (isNew, duplicate bool) {
	key := keyOf(r)
	mask := uint32(len(t.index) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		n := t.index[i]
		if n == 0 {
			break
		}
		if e := t.entry(int(n - 1)); e.hash == hash && keyOf(&e.record) == key {
			return false, t.merge(e, r)
		}
	}
	t.insert(hash, r)
	return true, false
}

// merge adds r to the flow of e.
func (t *Table) merge(e *entry, r *Record) (duplicate bool) {
	f := &e.record
	f.ReceivedMilliseconds = max(f.ReceivedMilliseconds, r.ReceivedMilliseconds)
	if r.FlowDirection != f.FlowDirection && r.FlowDirection != DirectionUnknown && f.FlowDirection != DirectionUnknown {
		t.duplicates++
		return true
	}
	f.FlowStartMilliseconds = min(f.FlowStartMilliseconds, r.FlowStartMilliseconds)
	f.FlowEndMilliseconds = max(f.FlowEndMilliseconds, r.FlowEndMilliseconds)
	// Records of one flow with another sampling interval are brought to the
	// interval of the flow, so that scaling the sum comes out right.
	by, of := uint64(max(r.SamplingPacketInterval, 1)), uint64(max(f.SamplingPacketInterval, 1))
	f.OctetDeltaCount = sum(f.OctetDeltaCount, rescale(r.OctetDeltaCount, by, of))
	f.PacketDeltaCount = sum(f.PacketDeltaCount, rescale(r.PacketDeltaCount, by, of))
	f.ReverseOctetDeltaCount = sum(f.ReverseOctetDeltaCount, rescale(r.ReverseOctetDeltaCount, by, of))
	f.ReversePacketDeltaCount = sum(f.ReversePacketDeltaCount, rescale(r.ReversePacketDeltaCount, by, of))
	f.TCPControlBits |= r.TCPControlBits
	f.ReverseTCPControlBits |= r.ReverseTCPControlBits
	f.IngressInterface, f.EgressInterface = r.IngressInterface, r.EgressInterface
	f.FlowEndReason, f.BackendState = r.FlowEndReason, r.BackendState
	return false
}

func rescale(n, by, of uint64) uint64 {
	if by == of {
		return n
	}
	return scale(n, 0, uint32(by)) / of
}

func (t *Table) count(by int) {
	t.active += by
	if t.shared != nil {
		t.shared.Add(int64(by))
	}
}

// clear forgets all flows.
func (t *Table) clear() {
	t.count(-t.active)
	t.index, t.chunks, t.free, t.size = make([]uint32, minIndex), nil, nil, 0
	t.evictHand, t.sweepHand = 0, 0
}

func (t *Table) insert(hash uint32, r *Record) {
	if t.full() {
		t.evict()
	}
	if (t.active+1)*5 > len(t.index)*4 {
		t.rehash(len(t.index) * 2)
	}
	n := t.size
	if last := len(t.free) - 1; last >= 0 {
		n = int(t.free[last])
		t.free = t.free[:last]
	} else {
		if n/chunkSize == len(t.chunks) {
			t.chunks = append(t.chunks, new([chunkSize]entry))
		}
		t.size++
	}
	*t.entry(n) = entry{record: *r, since: r.ReceivedMilliseconds, hash: hash, used: true}
	t.place(hash, uint32(n+1))
	t.count(1)
}

func (t *Table) place(hash, n uint32) {
	mask := uint32(len(t.index) - 1)
	i := hash & mask
	for t.index[i] != 0 {
		i = (i + 1) & mask
	}
	t.index[i] = n
}

func (t *Table) rehash(length int) {
	t.index = make([]uint32, length)
	for n := range t.size {
		if e := t.entry(n); e.used {
			t.place(e.hash, uint32(n+1))
		}
	}
}

// remove takes entry n out, and moves up those behind it in the index that
// would not be found over the gap (Knuth, TAOCP 6.4, algorithm R).
func (t *Table) remove(n int) {
	mask := uint32(len(t.index) - 1)
	e := t.entry(n)
	i := e.hash & mask
	for t.index[i] != uint32(n+1) {
		i = (i + 1) & mask
	}
	for gap := i; ; {
		i = (i + 1) & mask
		if t.index[i] == 0 {
			t.index[gap] = 0
			break
		}
		home := t.entry(int(t.index[i]-1)).hash & mask
		if (i-home)&mask >= (i-gap)&mask {
			t.index[gap] = t.index[i]
			gap = i
		}
	}
	*e = entry{}
	t.free = append(t.free, uint32(n))
	t.count(-1)
}
