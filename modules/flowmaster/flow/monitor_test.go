package flow

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

var start = time.Date(2024, 5, 6, 7, 0, 0, 0, time.UTC)

// at returns a record of flow i received at t.
func at(i int, t time.Time) Record { return testRecord(i, t.UnixMilli()) }

// run adds for each second of [from, to) what make returns, and ticks after
// each.
func run(m *Monitor, from, to time.Time, make func(t time.Time) []Record) {
	for t := from; t.Before(to); t = t.Add(time.Second) {
		m.Shard(int(t.Unix())).Add(make(t))
		m.Tick(nil, t.Add(time.Second))
	}
}

func TestWindows(t *testing.T) {
	m := NewMonitor(Options{Shards: 2})
	n := 0
	run(m, start, start.Add(2*time.Hour), func(t time.Time) []Record {
		n++
		r := at(n%10, t)
		r.OctetDeltaCount = uint64(t.Unix() % 7)
		return []Record{r}
	})
	end := start.Add(2 * time.Hour)
	for w := range Window(windows) {
		buckets := m.Buckets(w)
		step := w.Step()
		if len(buckets) != WindowBuckets || !buckets[WindowBuckets-1].Start.Equal(end.Truncate(step)) {
			t.Fatalf("%v: %d buckets up to %v", w, len(buckets), buckets[len(buckets)-1].Start)
		}
		for _, b := range buckets {
			var records, octets uint64
			for s := b.Start; s.Before(b.Start.Add(step)) && s.Before(end); s = s.Add(time.Second) {
				records++
				octets += uint64(s.Unix() % 7)
			}
			all := b.Totals.All()
			if all.Records != records || all.Octets != octets || all.RawPackets != 2*records || b.Totals.Leg(LegObserved) != all {
				t.Errorf("%v at %v: %+v, want %d records, %d octets", w, b.Start, all, records, octets)
			}
		}
		if parsed, ok := ParseWindow(w.String()); !ok || parsed != w {
			t.Errorf("ParseWindow(%q)", w)
		}
	}
	// An hour later there is nothing in any of them.
	m.Tick(nil, end.Add(time.Hour+time.Minute))
	for w := range Window(windows) {
		for _, b := range m.Buckets(w) {
			if b.Totals.All().Records != 0 {
				t.Errorf("%v at %v is not empty", w, b.Start)
			}
		}
	}
	if s := m.Status(); s.Total.All().Records != 7200 {
		t.Errorf("%d records in all", s.Total.All().Records)
	}
}

// Records of several seconds may come in one batch.
func TestBatchOverSeconds(t *testing.T) {
	m := NewMonitor(Options{Shards: 1})
	var records []Record
	for i := range 100 {
		records = append(records, at(i, start.Add(time.Duration(i/2)*time.Second)))
	}
	m.Shard(0).Add(records)
	m.Tick(nil, start.Add(50*time.Second))
	for i, b := range m.Buckets(LastMinute)[9:59] {
		if n := b.Totals.All().Records; n != 2 {
			t.Errorf("second %d: %d records", i, n)
		}
	}
}

// A tick that comes late loses nothing, if it is less than a minute late.
func TestLateTick(t *testing.T) {
	m := NewMonitor(Options{Shards: 1})
	for i := range 100 {
		m.Shard(0).Add([]Record{at(i, start.Add(time.Duration(i)*500*time.Millisecond))})
	}
	m.Tick(nil, start.Add(50*time.Second))
	perSecond := 0
	for _, b := range m.Buckets(LastMinute) {
		if b.Totals.All().Records == 2 {
			perSecond++
		}
	}
	if perSecond != 50 {
		t.Errorf("%d seconds with two records, want 50", perSecond)
	}
	// Later still, what does not fit is in one second, and not lost.
	for i := range 1000 {
		m.Shard(0).Add([]Record{at(i, start.Add(time.Duration(50+i)*time.Second))})
	}
	m.Tick(nil, start.Add(1050*time.Second))
	var records uint64
	for _, b := range m.Buckets(LastHour) {
		records += b.Totals.All().Records
	}
	if records != 1100 {
		t.Errorf("%d records", records)
	}
}

func TestTopDimensions(t *testing.T) {
	names := NewNames(10)
	backend := names.ID("10.0.0.9:8080")
	m := NewMonitor(Options{Shards: 2, Names: names})
	down := Record{
		Leg: LegDownstream, Source: SourceConnection, SourceAddress: AddrFrom4(0xcb007105), DestinationAddress: AddrFrom4(0xc0000201),
		SourceTransportPort: 50000, DestinationTransportPort: 443, ProtocolIdentifier: 6, OctetDeltaCount: 100, ReverseOctetDeltaCount: 900,
		SourceAS: 64500, SourceCountry: Country{'N', 'Z'}, Backend: backend, SamplingPacketInterval: 1,
	}
	up := down
	up.Leg, up.SourceAddress, up.SourceAS, up.SourceCountry, up.DestinationTransportPort = LegUpstream, AddrFrom4(0x0a000001), 0, Country{}, 8080
	// From a server to a client, as an exporter reports it, sampled.
	observed := Record{
		Leg: LegObserved, Source: SourceNetFlow9, SourceAddress: AddrFrom16(0x20010db8<<32, 1), DestinationAddress: AddrFrom16(0x20010db8_0007_0000|5, 2),
		SourceTransportPort: 53, DestinationTransportPort: 40000, ProtocolIdentifier: 17, OctetDeltaCount: 20, Exporter: AddrFrom4(0xc0000263),
		DestinationAS: 64501, SamplingPacketInterval: 100,
	}
	records := []Record{down, up, observed}
	for i := range records {
		records[i].ReceivedMilliseconds = start.UnixMilli()
	}
	m.Shard(1).Add(records)
	for pass, tick := range []time.Time{start.Add(time.Second), start.Add(time.Minute)} { // while collected, and after
		m.Tick(nil, tick)
		for d, want := range map[Dimension][]TopEntry{
			ByClientPrefix:  {{Name: "2001:db8:7::/48", Octets: 2000}, {Name: "203.0.113.0/24", Octets: 1000}},
			ByClientAS:      {{Name: "AS64501", Octets: 2000}, {Name: "AS64500", Octets: 1000}},
			ByClientCountry: {{Name: "NZ", Octets: 1000}},
			ByBackend:       {{Name: "10.0.0.9:8080", Octets: 2000}},
			ByServicePort:   {{Name: "udp/53", Octets: 2000}, {Name: "tcp/443", Octets: 1000}, {Name: "tcp/8080", Octets: 1000}},
			ByExporter:      {{Name: "192.0.2.99", Octets: 2000}},
		} {
			top := m.Top(d, LastMinute, 10)
			if len(top.Entries) != len(want) || !top.From.Equal(start) || !top.To.Equal(tick) || top.UncountedOctets != 0 {
				t.Errorf("pass %d, %v: %+v", pass, d, top)
				continue
			}
			for i, w := range want {
				if g := top.Entries[i]; g.Name != w.Name || g.Octets != w.Octets || g.ErrorOctets != 0 {
					t.Errorf("pass %d, %v: place %d is %+v, want %+v", pass, d, i, g, w)
				}
			}
			if parsed, ok := ParseDimension(d.String()); !ok || parsed != d {
				t.Errorf("ParseDimension(%q)", d)
			}
		}
	}
	if n, _, _ := m.Distinct(LastMinute); n != 2 {
		t.Errorf("%d clients", n)
	}
	if top := m.Top(ByServicePort, LastMinute, 1); len(top.Entries) != 1 || top.TotalOctets != 4000 {
		t.Errorf("%+v", top)
	}
}

// TestTopOverTime: a list over a window holds what came in it, no less, and
// no more than one pane before it.
func TestTopOverTime(t *testing.T) {
	m := NewMonitor(Options{Shards: 2, TopK: 100, Table: TableOptions{Flows: 1000}})
	const hours = 3
	end := start.Add(hours*time.Hour - 17*time.Second)
	octets := func(from, to time.Time) (n uint64) {
		for t := from; t.Before(to); t = t.Add(time.Second) {
			n += 10 + uint64(t.Unix()%13)
		}
		return n
	}
	run(m, start, end, func(t time.Time) []Record {
		r := at(1, t)
		r.OctetDeltaCount = 10 + uint64(t.Unix()%13)
		return []Record{r}
	})
	for w, slack := range map[Window]time.Duration{LastMinute: 10 * time.Second, LastTenMinutes: time.Minute, LastHour: 10 * time.Minute} {
		top := m.Top(ByServicePort, w, 5)
		reach := top.To.Sub(top.From)
		if reach < w.Span() || reach >= w.Span()+slack || !top.To.Equal(end) {
			t.Errorf("%v covers %v, from %v to %v", w, reach, top.From, top.To)
		}
		if len(top.Entries) != 1 || top.Entries[0].Octets != octets(top.From, end) || top.TotalOctets != top.Entries[0].Octets {
			t.Errorf("%v: %+v, want %d octets", w, top, octets(top.From, end))
		}
	}
	for w, p := range m.history.levels {
		if len(p.complete) != panesKept[w] || len(p.building) > 10 {
			t.Errorf("window %d keeps %d panes, builds of %d", w, len(p.complete), len(p.building))
		}
	}
}

// A pause between ticks leaves no pane behind, and none is counted twice.
func TestTopAfterPause(t *testing.T) {
	m := NewMonitor(Options{Shards: 1})
	for _, after := range []time.Duration{0, 25 * time.Second, 400 * time.Second, 2000 * time.Second} {
		r := at(1, start.Add(after))
		m.Shard(0).Add([]Record{r})
		m.Tick(nil, start.Add(after+time.Second))
	}
	if top := m.Top(ByServicePort, LastHour, 5); top.TotalOctets != 4000 {
		t.Errorf("last hour: %+v", top)
	}
	if top := m.Top(ByServicePort, LastMinute, 5); top.TotalOctets < 1000 || top.TotalOctets > 2000 {
		t.Errorf("last minute: %+v", top)
	}
}

func TestDistinctClients(t *testing.T) {
	m := NewMonitor(Options{Shards: 3, Table: TableOptions{Flows: 1000}})
	r := rand.New(rand.NewPCG(1, 2))
	const clients = 100_000
	now := start
	for i := range 2 * clients { // each twice, in different shards and panes
		rec := at(0, now)
		rec.SourceAddress, rec.Leg = AddrFrom4(uint32(0x0b000000+i%clients)), LegDownstream
		m.Shard(r.IntN(3)).Add([]Record{rec})
		if i%5000 == 0 {
			now = now.Add(time.Second)
			m.Tick(nil, now)
		}
	}
	n, _, _ := m.Distinct(LastMinute)
	if math.Abs(float64(n)/clients-1) > 0.04 { // five standard errors
		t.Errorf("%d clients, were %d", n, clients)
	}
}

// TestMasked: no more of an address than the mask allows is stored.
func TestMasked(t *testing.T) {
	records := []Record{at(0x010203, start), at(1, start)}
	records[1].SourceAddress, records[1].DestinationAddress = AddrFrom16(0x20010db8_12345678, 9), AddrFrom16(0x20010db8_00000001, 9)
	m := NewMonitor(Options{Shards: 1})
	m.Shard(0).Add(records)
	for _, r := range m.Flows(10, nil) {
		if r.SourceAddress != r.SourceAddress.Masked(24, 48) || r.DestinationAddress != r.DestinationAddress.Masked(24, 48) {
			t.Errorf("%v to %v", r.SourceAddress, r.DestinationAddress)
		}
	}
	open := NewMonitor(Options{Shards: 1, Mask: NoMask})
	open.Shard(0).Add([]Record{at(0x010203, start)})
	if f := open.Flows(10, nil); len(f) != 1 || f[0].SourceAddress.String() != "10.1.2.3" {
		t.Errorf("%+v", f)
	}
	if top := open.Top(ByClientPrefix, LastMinute, 1); top.Entries[0].Name != "10.1.2.3/32" {
		t.Errorf("%+v", top)
	}
}

// The shards share one limit, wherever the flows are.
func TestSharedLimit(t *testing.T) {
	const limit = 1000
	m := NewMonitor(Options{Shards: 4, Table: TableOptions{Flows: limit}, Mask: NoMask})
	for i := range 2 * limit {
		m.Shard(0).Add([]Record{at(i, start)})
	}
	if s := m.Status(); s.Flows != limit || s.Evicted != limit || s.FlowsLimit != limit {
		t.Errorf("one busy shard: %+v", s)
	}
	for i := range 2 * limit {
		m.Shard(1 + i%3).Add([]Record{at(i, start)})
	}
	if s := m.Status(); s.Flows > limit+3*minPerTable || s.Flows < limit {
		t.Errorf("all shards: %+v", s)
	}
}

func TestTickReportsFlows(t *testing.T) {
	m := NewMonitor(Options{Shards: 2, Table: TableOptions{IdleTimeout: 10 * time.Second}})
	for i := range 100 {
		m.Shard(i).Add([]Record{at(i*256, start)})
	}
	var over []Record
	for s := range 20 {
		over = m.Tick(over, start.Add(time.Duration(s)*time.Second))
	}
	if len(over) != 100 || m.Status().Flows != 0 {
		t.Errorf("%d over, %d left", len(over), m.Status().Flows)
	}
	m.Shard(0).Add([]Record{at(1, start), at(300, start)})
	if over = m.Drain(nil); len(over) != 2 || over[0].FlowEndReason != EndForced || m.Status().Flows != 0 {
		t.Errorf("drained %+v", over)
	}
	m.Shard(0).Add([]Record{at(1, start)})
	if m.Status().Flows != 1 {
		t.Error("no flow after Drain")
	}
}

// TestMonitorConcurrent: the race detector watches workers, ticks and readers.
func TestMonitorConcurrent(t *testing.T) {
	m := NewMonitor(Options{Shards: 2, TopK: 50, Table: TableOptions{Flows: 500}})
	var workers sync.WaitGroup
	const batches = 300
	for w := range 4 {
		workers.Go(func() {
			for i := range batches {
				records := make([]Record, 10)
				for j := range records {
					records[j] = at(i*j*256, start.Add(time.Duration(i)*time.Second))
				}
				m.Shard(w).Add(records)
			}
		})
	}
	for i := range batches {
		m.Tick(nil, start.Add(time.Duration(i)*time.Second))
		if i%10 == 0 {
			m.Top(ByClientPrefix, LastHour, 10)
			m.Distinct(LastTenMinutes)
			m.Buckets(LastMinute)
			m.Flows(10, func(r *Record) bool { return r.SourceTransportPort != 0 })
			m.Status()
		}
	}
	workers.Wait()
	if n := m.Status().Total.All().Records; n != 4*batches*10 {
		t.Errorf("%d records", n)
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	m := NewMonitor(Options{Shards: 1, TopK: 100, Table: TableOptions{Flows: 1000}})
	records := make([]Record, 26)
	i := 0
	add := func() {
		for j := range records {
			records[j] = at(i*256, start)
			i++
		}
		m.Shard(0).Add(records)
	}
	for range 1000 {
		add()
	}
	if n := testing.AllocsPerRun(1000, add); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestMonitorMemory: what Status tells is near what is used.
func TestMonitorMemory(t *testing.T) {
	m := NewMonitor(Options{Shards: 2, Table: TableOptions{Flows: 20_000}})
	r := rand.New(rand.NewPCG(1, 2))
	run(m, start, start.Add(90*time.Minute), func(t time.Time) []Record {
		records := make([]Record, 20)
		for i := range records {
			records[i] = at(r.IntN(1<<24), t)
		}
		return records
	})
	s := m.Status()
	if s.MemoryBytes < 1<<20 || s.MemoryBytes > 32<<20 {
		t.Errorf("%d bytes", s.MemoryBytes)
	}
	t.Logf("%d flows, %.1f MB", s.Flows, float64(s.MemoryBytes)/1e6)
}

func BenchmarkShardAdd(b *testing.B) {
	for name, flows := range map[string]int{"1k": 1000, "100k": 100_000} {
		b.Run(name, func(b *testing.B) {
			m := NewMonitor(Options{Shards: 1, Mask: NoMask})
			batches := make([][]Record, flows/25)
			order := rand.New(rand.NewPCG(1, 2)).Perm(flows)
			for i := range batches {
				for _, n := range order[i*25 : i*25+25] {
					r := at(n, start)
					r.Exporter = AddrFrom4(0xc0000201)
					batches[i] = append(batches[i], r)
				}
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				m.Shard(0).Add(batches[i])
				if i++; i == len(batches) {
					i = 0
				}
			}
			b.ReportMetric(float64(b.N)*25/b.Elapsed().Seconds(), "records/s")
		})
	}
}
