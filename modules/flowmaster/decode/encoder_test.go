package decode

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

func randomRecords(n int) []flow.Record {
	r := rand.New(rand.NewPCG(7, 8))
	records := make([]flow.Record, n)
	for i := range records {
		f := &records[i]
		*f = flow.Record{
			FlowStartMilliseconds: 1 + r.Int64N(1<<45), FlowEndMilliseconds: 1 + r.Int64N(1<<45),
			OctetDeltaCount: r.Uint64(), PacketDeltaCount: r.Uint64(),
			SourceAddress: flow.AddrFrom4(r.Uint32()), DestinationAddress: flow.AddrFrom4(r.Uint32()),
			IngressInterface: r.Uint32(), EgressInterface: r.Uint32(), SamplingPacketInterval: 1 + r.Uint32N(1000),
			SourceAS: r.Uint32(), DestinationAS: r.Uint32(),
			SourceTransportPort: uint16(r.Uint32()), DestinationTransportPort: uint16(r.Uint32()), VlanID: uint16(r.Uint32()),
			TCPControlBits: uint16(r.Uint32()), ICMPTypeCode: uint16(r.Uint32()),
			ProtocolIdentifier: uint8(r.Uint32()), IPClassOfService: uint8(r.Uint32()),
			SourcePrefixLength: uint8(r.Uint32()), DestinationPrefixLength: uint8(r.Uint32()),
			FlowEndReason: flow.EndReason(r.Uint32N(6)), BiflowDirection: flow.BiflowDirection(r.Uint32N(4)),
		}
		if r.IntN(2) == 0 {
			f.SourceAddress, f.DestinationAddress = flow.AddrFrom16(r.Uint64()|1, r.Uint64()), flow.AddrFrom16(r.Uint64()|1, r.Uint64())
		}
		if r.IntN(2) == 0 {
			f.ReverseOctetDeltaCount, f.ReversePacketDeltaCount, f.ReverseTCPControlBits = r.Uint64()|1, r.Uint64(), uint16(r.Uint32())
		}
	}
	return records
}

// roundTrip encodes records and decodes the messages.
func roundTrip(t *testing.T, o EncoderOptions, records []flow.Record) ([]flow.Record, Counters) {
	t.Helper()
	e := NewEncoder(o)
	store := NewStore(Limits{})
	d := NewDecoder(store)
	var out []flow.Record
	var b []byte
	for len(records) > 0 || e.Pending() {
		var n int
		b, n = e.AppendMessage(b[:0], records, testTime)
		records = records[n:]
		if len(b) > e.options.MaxOctets {
			t.Fatalf("message of %d octets, at most %d", len(b), e.options.MaxOctets)
		}
		var err error
		if out, _, err = d.Decode(out, packet(b)); err != nil {
			t.Fatal(err)
		}
	}
	return out, store.Exporters()[0].Counters
}

func TestEncoderRoundTrip(t *testing.T) {
	records := randomRecords(2000)
	for _, octets := range []int{0, 640, 9000, 65535} {
		out, c := roundTrip(t, EncoderOptions{ObservationDomainID: 9, MaxOctets: octets}, records)
		if len(out) != len(records) || c.Lost != 0 || c.Records != 2000 || c.UnknownSets != 0 {
			t.Fatalf("%d records, %+v", len(out), c)
		}
		for i, want := range records {
			want.ReceivedMilliseconds, want.Exporter = testTime.UnixMilli(), flow.AddrFrom(testExporter)
			want.ObservationDomainID = 9
			want.Source, want.Leg = flow.SourceIPFIX, flow.LegObserved
			want.Exactness = flow.Sampled
			if want.SamplingPacketInterval == 1 {
				want.Exactness = flow.Exact
			}
			if out[i] != want {
				t.Fatalf("record %d\ngot  %+v\nwant %+v", i, out[i], want)
			}
		}
	}
}

func TestEncoderUniflow(t *testing.T) {
	records := randomRecords(500)
	out, c := roundTrip(t, EncoderOptions{Uniflow: true}, records)
	if c.Lost != 0 || c.Records != uint64(len(out)) {
		t.Errorf("%+v", c)
	}
	var want, got [2]uint64
	both := 0
	for i := range records {
		r := &records[i]
		want[0] += r.OctetDeltaCount + r.ReverseOctetDeltaCount
		want[1] += r.PacketDeltaCount + r.ReversePacketDeltaCount
		if hasReverse(r) {
			both++
		}
	}
	for i := range out {
		got[0] += out[i].OctetDeltaCount
		got[1] += out[i].PacketDeltaCount
		if hasReverse(&out[i]) {
			t.Fatalf("record %d has both directions", i)
		}
	}
	if want != got || len(out) != 500+both {
		t.Errorf("%d records of %d and %d, totals %v, want %v", len(out), 500, both, got, want)
	}
	first := flow.Record{
		SourceAddress: flow.AddrFrom4(1), DestinationAddress: flow.AddrFrom4(2), SourceTransportPort: 3, DestinationTransportPort: 4,
		OctetDeltaCount: 5, ReverseOctetDeltaCount: 6, BiflowDirection: flow.BiflowInitiator,
	}
	out, _ = roundTrip(t, EncoderOptions{Uniflow: true}, []flow.Record{first})
	if r := out[1]; r.SourceAddress != flow.AddrFrom4(2) || r.DestinationTransportPort != 3 || r.OctetDeltaCount != 6 || r.BiflowDirection != flow.BiflowReverseInitiator {
		t.Errorf("%+v", r)
	}
}

func TestEncoderTemplates(t *testing.T) {
	hasTemplates := func(b []byte) bool { return len(b) > ipfixHeader+1 && b[ipfixHeader+1] == setTemplate10 }
	records := randomRecords(1)
	e := NewEncoder(EncoderOptions{})
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {time.Second, false}, {59 * time.Second, false}, {time.Minute, true}, {61 * time.Second, false}, {2 * time.Minute, true}} {
		b, n := e.AppendMessage(nil, records, testTime.Add(c.after))
		if n != 1 || hasTemplates(b) != c.want {
			t.Errorf("after %v: %d records, templates %v", c.after, n, hasTemplates(b))
		}
	}
	if b, n := e.AppendMessage(nil, nil, testTime.Add(2*time.Minute)); n != 0 || b != nil {
		t.Errorf("nothing to say became %x", b)
	}
	if b, _ := e.AppendMessage(nil, nil, testTime.Add(4*time.Minute)); !hasTemplates(b) || len(b) != ipfixHeader+len(encodedTemplates) {
		t.Errorf("templates alone: %x", b)
	}
	if e.Sequence() != 6 {
		t.Errorf("sequence %d", e.Sequence())
	}

	session := NewEncoder(EncoderOptions{TemplateInterval: -1})
	session.AppendMessage(nil, records, testTime)
	if b, _ := session.AppendMessage(nil, records, testTime.Add(1000*time.Hour)); hasTemplates(b) {
		t.Error("templates again in one session")
	}
	session.Reset()
	if b, _ := session.AppendMessage(nil, records, testTime); !hasTemplates(b) || session.Sequence() != 1 {
		t.Error("no templates, or a wrong sequence, after Reset")
	}
}

// AppendMessage leaves what stands in dst alone.
func TestEncoderAppends(t *testing.T) {
	b, _ := NewEncoder(EncoderOptions{}).AppendMessage([]byte("before"), randomRecords(3), testTime)
	if string(b[:6]) != "before" {
		t.Errorf("%q", b[:6])
	}
	if _, res, err := NewDecoder(NewStore(Limits{})).Decode(nil, packet(b[6:])); err != nil || res.Records != 3 {
		t.Errorf("%+v, %v", res, err)
	}
}

// Once templates are known, neither decoding nor encoding allocates.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	records := randomRecords(12)
	e := NewEncoder(EncoderOptions{MaxOctets: 9000})
	d := NewDecoder(NewStore(Limits{}))
	var b []byte
	var out []flow.Record
	now := testTime
	if n := testing.AllocsPerRun(100, func() {
		now = now.Add(time.Minute) // templates every time
		b, _ = e.AppendMessage(b[:0], records, now)
		p := packet(b)
		p.Received = now
		out, _, _ = d.Decode(out[:0], p)
		if len(out) != len(records) {
			t.Fatal(len(out))
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	for _, c := range fixtureCases(t) {
		d := NewDecoder(NewStore(Limits{}))
		var packets []Packet
		for _, file := range c.Files {
			packets = append(packets, packet(fixture(t, file)))
		}
		if n := testing.AllocsPerRun(20, func() {
			for _, p := range packets {
				out, _, _ = d.Decode(out[:0], p)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", c.Name, n)
		}
	}
}
