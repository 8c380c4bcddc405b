package flow

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
	"unsafe"
)

const second = 1000 // in milliseconds

// testRecord is of flow number i, received at ms.
func testRecord(i int, ms int64) Record {
	return Record{
		ReceivedMilliseconds: ms, FlowStartMilliseconds: ms, FlowEndMilliseconds: ms,
		SourceAddress: AddrFrom4(0x0a000000 + uint32(i)), DestinationAddress: AddrFrom4(0xc0000201),
		SourceTransportPort: uint16(i), DestinationTransportPort: 443, ProtocolIdentifier: 6,
		OctetDeltaCount: 1000, PacketDeltaCount: 2, Leg: LegObserved, Source: SourceIPFIX, SamplingPacketInterval: 1,
	}
}

// TestTableAgainstMap runs random updates and sweeps on a Table and on a map.
func TestTableAgainstMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	table := NewTable(TableOptions{IdleTimeout: 50 * time.Second, ActiveTimeout: -1})
	type state struct {
		octets uint64
		last   int64
	}
	model := map[int]*state{}
	var now int64 = second
	var over []Record
	for range 200_000 {
		now += r.Int64N(20)
		i := r.IntN(5000)
		if r.IntN(10) == 0 {
			i = r.IntN(50)
		}
		rec := testRecord(i, now)
		rec.OctetDeltaCount = r.Uint64N(1000)
		isNew, duplicate := table.Update(&rec)
		s := model[i]
		if isNew != (s == nil) || duplicate {
			t.Fatalf("flow %d: new %v, duplicate %v, in the map %v", i, isNew, duplicate, s != nil)
		}
		if s == nil {
			s = &state{}
			model[i] = s
		}
		s.octets += rec.OctetDeltaCount
		s.last = now
		if r.IntN(500) != 0 {
			continue
		}
		over = table.SweepAll(over[:0], now)
		gone := 0
		for j, s := range model {
			if now-s.last >= 50*second {
				delete(model, j)
				gone++
			}
		}
		if len(over) != gone || table.Len() != len(model) {
			t.Fatalf("%d over of %d, want %d of %d", len(over), table.Len(), gone, len(model))
		}
		for i := range over {
			if over[i].FlowEndReason != EndIdleTimeout {
				t.Fatalf("reason %v", over[i].FlowEndReason)
			}
		}
	}
	seen := 0
	for _, rec := range table.AppendFlows(nil, 1<<20, nil) {
		i := int(rec.SourceAddress.V4() - 0x0a000000)
		if s := model[i]; s == nil || s.octets != rec.OctetDeltaCount || s.last != rec.ReceivedMilliseconds {
			t.Fatalf("flow %d: %+v, in the map %+v", i, rec, model[i])
		}
		seen++
	}
	if seen != len(model) || seen == 0 {
		t.Errorf("%d flows, want %d", seen, len(model))
	}
}

// What tells flows apart, and what does not.
func TestTableKey(t *testing.T) {
	table := NewTable(TableOptions{})
	base := testRecord(1, second)
	table.Update(&base)
	for name, change := range map[string]func(*Record){
		"source":      func(r *Record) { r.SourceAddress = AddrFrom4(9) },
		"destination": func(r *Record) { r.DestinationAddress = AddrFrom4(9) },
		"ports": func(r *Record) {
			r.SourceTransportPort, r.DestinationTransportPort = r.DestinationTransportPort, r.SourceTransportPort
		},
		"protocol":    func(r *Record) { r.ProtocolIdentifier = 17 },
		"VLAN":        func(r *Record) { r.VlanID = 9 },
		"exporter":    func(r *Record) { r.Exporter = AddrFrom4(9) },
		"domain":      func(r *Record) { r.ObservationDomainID = 9 },
		"leg":         func(r *Record) { r.Leg = LegDownstream },
		"source kind": func(r *Record) { r.Source = SourceSFlow },
	} {
		r := base
		change(&r)
		if isNew, _ := table.Update(&r); !isNew {
			t.Errorf("another %s is the same flow", name)
		}
	}
	r := base
	r.IngressInterface, r.IPClassOfService, r.TCPControlBits, r.BackendState = 1, 2, 3, BackendEjected
	if isNew, _ := table.Update(&r); isNew {
		t.Error("another interface, class, flags or state is another flow")
	}
	f := table.AppendFlows(nil, 1, func(r *Record) bool { return r.TCPControlBits != 0 })
	if len(f) != 1 || f[0].OctetDeltaCount != 2000 || f[0].BackendState != BackendEjected || f[0].IngressInterface != 1 {
		t.Errorf("%+v", f)
	}
}

func TestTableDuplicates(t *testing.T) {
	table := NewTable(TableOptions{})
	in, out, unsaid := testRecord(1, second), testRecord(1, second), testRecord(1, second)
	in.FlowDirection, out.FlowDirection = DirectionIngress, DirectionEgress
	for i, c := range []struct {
		r          Record
		isNew, dup bool
	}{{in, true, false}, {out, false, true}, {in, false, false}, {unsaid, false, false}, {out, false, true}} {
		if isNew, dup := table.Update(&c.r); isNew != c.isNew || dup != c.dup {
			t.Errorf("record %d: new %v, duplicate %v", i, isNew, dup)
		}
	}
	if f := table.AppendFlows(nil, 10, nil); len(f) != 1 || f[0].OctetDeltaCount != 3000 || table.Duplicates() != 2 {
		t.Errorf("%+v, %d duplicates", f, table.Duplicates())
	}
}

func TestTableActiveTimeout(t *testing.T) {
	table := NewTable(TableOptions{IdleTimeout: time.Minute, ActiveTimeout: 10 * time.Second})
	var over []Record
	for ms := int64(second); ms <= 31*second; ms += second {
		r := testRecord(1, ms)
		table.Update(&r)
		over = table.SweepAll(over, ms)
	}
	if len(over) != 3 || table.Len() != 1 {
		t.Fatalf("%d reports, %d active", len(over), table.Len())
	}
	var octets uint64
	for i, r := range over {
		octets += r.OctetDeltaCount
		if r.FlowEndReason != EndActiveTimeout || r.FlowEndMilliseconds-r.FlowStartMilliseconds > 10*second {
			t.Errorf("report %d: %+v", i, r)
		}
	}
	for _, r := range table.AppendFlows(nil, 1, nil) {
		octets += r.OctetDeltaCount
	}
	if octets != 31*1000 {
		t.Errorf("%d octets in all", octets)
	}
}

func TestTableEndedFlows(t *testing.T) {
	table := NewTable(TableOptions{})
	for i, reason := range []EndReason{EndUnknown, EndActiveTimeout, EndOfFlow, EndIdleTimeout, EndForced} {
		r := testRecord(i, second)
		r.FlowEndReason = reason
		table.Update(&r)
	}
	if over := table.SweepAll(nil, second); len(over) != 3 || table.Len() != 2 {
		t.Errorf("%d over, %d active", len(over), table.Len())
	}
}

func TestTableSampling(t *testing.T) {
	table := NewTable(TableOptions{})
	for _, n := range []uint32{100, 100, 50} {
		r := testRecord(1, second)
		r.SamplingPacketInterval = n
		table.Update(&r)
	}
	if f := table.AppendFlows(nil, 1, nil)[0]; f.ScaledOctets() != 250_000 || f.SamplingPacketInterval != 100 {
		t.Errorf("%d octets, 1 in %d", f.ScaledOctets(), f.SamplingPacketInterval)
	}
}

func TestTableSaturates(t *testing.T) {
	table := NewTable(TableOptions{})
	for range 3 {
		r := testRecord(1, second)
		r.OctetDeltaCount, r.SamplingPacketInterval = ^uint64(0)-5, 7
		table.Update(&r)
	}
	if f := table.AppendFlows(nil, 1, nil)[0]; f.OctetDeltaCount != ^uint64(0) || f.ScaledOctets() != ^uint64(0) {
		t.Errorf("%d", f.OctetDeltaCount)
	}
}

// TestTableEviction floods a table with a million flows: it stays at its
// limit, flows that are in use stay in it, and what goes is added up.
func TestTableEviction(t *testing.T) {
	const limit, busy = 1000, 50
	n := 1_000_000
	if testing.Short() {
		n = 50_000
	}
	table := NewTable(TableOptions{Flows: limit})
	var now int64 = second
	var total uint64
	returned := 0
	for i := range n {
		now++
		r := testRecord(1_000_000+i, now)
		table.Update(&r)
		total += r.OctetDeltaCount
		r = testRecord(i%busy, now)
		if isNew, _ := table.Update(&r); isNew {
			returned++
		}
		total += r.OctetDeltaCount
	}
	if table.Len() != limit {
		t.Errorf("%d flows", table.Len())
	}
	if returned > busy+busy/10 {
		t.Errorf("flows in use were pushed out: they came back %d times", returned-busy)
	}
	evicted, other := table.Evicted()
	kept := other.Octets
	for _, r := range table.AppendFlows(nil, limit, nil) {
		kept += r.OctetDeltaCount
	}
	if kept != total || evicted != uint64(n+returned-limit) || other.Flows != evicted {
		t.Errorf("%d octets of %d, %d evicted, %+v", kept, total, evicted, other)
	}
}

// TestTableMemory: at most 200 bytes for each of 100,000 flows.
func TestTableMemory(t *testing.T) {
	const flows = 100_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	table := NewTable(TableOptions{Flows: flows})
	for i := range flows {
		r := testRecord(i, second)
		table.Update(&r)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	measured := float64(after.HeapAlloc-before.HeapAlloc) / flows
	t.Logf("%.1f bytes a flow measured, %.1f told, entry %d, record %d", measured, float64(table.MemoryBytes())/flows, entryBytes, unsafe.Sizeof(Record{}))
	if measured > 200 || table.Len() != flows {
		t.Errorf("%.1f bytes for each of %d flows", measured, table.Len())
	}
	if told := float64(table.MemoryBytes()) / flows; told < measured*0.9 || told > measured*1.2 {
		t.Errorf("MemoryBytes says %.1f, measured %.1f", told, measured)
	}
	runtime.KeepAlive(table)
}

// A full table takes in new and known flows without allocating.
func TestTableUpdateAllocatesNothing(t *testing.T) {
	table := NewTable(TableOptions{Flows: 2000})
	i := 0
	update := func() {
		r := testRecord(i%7000, int64(i))
		table.Update(&r)
		i++
	}
	for range 10_000 {
		update()
	}
	if n := testing.AllocsPerRun(10_000, update); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTableUpdate(b *testing.B) {
	for name, flows := range map[string]int{"1k": 1000, "100k": 100_000} {
		b.Run(name, func(b *testing.B) {
			records := make([]Record, flows)
			for i := range records {
				records[i] = testRecord(i, second)
			}
			rand.New(rand.NewPCG(1, 2)).Shuffle(flows, func(i, j int) { records[i], records[j] = records[j], records[i] })
			table := NewTable(TableOptions{})
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				table.Update(&records[i])
				if i++; i == flows {
					i = 0
				}
			}
		})
	}
}
