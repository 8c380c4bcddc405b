package decode

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// exportTime is that of ipfixMessage and netflow9Message.
var exportTime = time.Date(2024, 5, 6, 11, 12, 0, 0, time.UTC).UnixMilli()

// decodeAll decodes messages in order on one Decoder.
func decodeAll(t *testing.T, messages ...[]byte) []flow.Record {
	t.Helper()
	d := NewDecoder(NewStore(Limits{}))
	var out []flow.Record
	for _, b := range messages {
		var err error
		if out, _, err = d.Decode(out, packet(b)); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// one decodes one record of the given fields (pairs of ID and length).
func one(t *testing.T, netflow9 bool, fields []int, data []byte) flow.Record {
	t.Helper()
	template := join(words(256, len(fields)/2), words(fields...))
	b := ipfixMessage(0, set(2, template), set(256, data))
	if netflow9 {
		b = netflow9Message(0, 2, set(0, template), set(256, data))
	}
	out := decodeAll(t, b)
	if len(out) != 1 {
		t.Fatalf("%d records", len(out))
	}
	return out[0]
}

func TestRecordFields(t *testing.T) {
	r := one(t, false, []int{
		8, 4, 12, 4, 7, 2, 11, 2, 4, 1, 5, 1, 6, 2, 1, 3, 2, 2, 10, 2, 14, 4, 16, 4, 17, 2,
		9, 1, 13, 1, 58, 2, 61, 1, 136, 1, 239, 1, 152, 8, 153, 8,
	}, join(
		[]byte{10, 0, 0, 1, 192, 0, 2, 2}, words(443, 50000), []byte{6, 0xb8}, words(0x012),
		[]byte{1, 0, 0}, words(9), words(3), words(1, 2), words(0, 64500), words(64501),
		[]byte{24, 16}, words(77), []byte{1, 3, 1}, words(0, 0, 0, 1000), words(0, 0, 0, 2500),
	))
	want := flow.Record{
		ReceivedMilliseconds: testTime.UnixMilli(), FlowStartMilliseconds: 1000, FlowEndMilliseconds: 2500,
		OctetDeltaCount: 65536, PacketDeltaCount: 9,
		SourceAddress: flow.AddrFrom4(0x0a000001), DestinationAddress: flow.AddrFrom4(0xc0000202), Exporter: flow.AddrFrom(testExporter),
		ObservationDomainID: 1, IngressInterface: 3, EgressInterface: 65538, SourceAS: 64500, DestinationAS: 64501,
		SourceTransportPort: 443, DestinationTransportPort: 50000, VlanID: 77, TCPControlBits: 0x12,
		ProtocolIdentifier: 6, IPClassOfService: 0xb8, SourcePrefixLength: 24, DestinationPrefixLength: 16,
		FlowEndReason: flow.EndOfFlow, BiflowDirection: flow.BiflowInitiator, FlowDirection: flow.DirectionEgress,
		Source: flow.SourceIPFIX, Leg: flow.LegObserved, Exactness: flow.Estimated,
	}
	if r != want {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
}

func TestRecordBothDirections(t *testing.T) {
	for name, c := range map[string]struct {
		fields, data []byte
	}{
		"RFC 5103": {
			join(words(1, 4, 2, 4, 6, 1), words(0x8001, 4, 0, 29305, 0x8002, 4, 0, 29305, 0x8006, 1, 0, 29305)),
			join(words(0, 100, 0, 2), []byte{2}, words(0, 200, 0, 3), []byte{18}),
		},
		"totals, and YAF's flags": {
			join(words(85, 4, 86, 4, 0x800e, 1, 0, 6871), words(0x8055, 4, 0, 29305, 0x8056, 4, 0, 29305, 0xc00e, 1, 0, 6871)),
			join(words(0, 100, 0, 2), []byte{2}, words(0, 200, 0, 3), []byte{18}),
		},
		"initiator and responder": {
			join(words(231, 4, 298, 4, 6, 1), words(232, 4, 299, 4, 0x8006, 1, 0, 29305)),
			join(words(0, 100, 0, 2), []byte{2}, words(0, 200, 0, 3), []byte{18}),
		},
		"nProbe": {
			join(words(1, 4, 2, 4, 6, 1), words(23, 4, 24, 4, 0x8076, 1, 0, 35632, 0x8006, 1, 0, 29305)),
			join(words(0, 100, 0, 2), []byte{2}, words(0, 200, 0, 3), []byte{0, 18}),
		},
		"delta counts before total counts": {
			join(words(85, 4, 1, 4, 2, 4, 6, 1), words(0x8001, 4, 0, 29305, 0x8002, 4, 0, 29305, 0x8006, 1, 0, 29305)),
			join(words(9, 9, 0, 100, 0, 2), []byte{2}, words(0, 200, 0, 3), []byte{18}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			count := 6
			if name == "nProbe" || name == "delta counts before total counts" {
				count = 7
			}
			out := decodeAll(t, ipfixMessage(0, set(2, words(256, count), c.fields), set(256, c.data)))
			if len(out) != 1 {
				t.Fatalf("%d records", len(out))
			}
			r := out[0]
			if r.OctetDeltaCount != 100 || r.PacketDeltaCount != 2 || r.ReverseOctetDeltaCount != 200 || r.ReversePacketDeltaCount != 3 ||
				r.TCPControlBits != 2 || r.ReverseTCPControlBits != 18 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestRecordTimes(t *testing.T) {
	const hour = 3_600_000
	for _, c := range []struct {
		name       string
		netflow9   bool
		fields     []int
		data       []byte
		start, end int64
	}{
		{"v9 uptime", true, []int{1, 1, 22, 4, 21, 4}, join([]byte{1}, words(0x36, 0xee80-1500), words(0x36, 0xee80-500)), exportTime - 1500, exportTime - 500},
		{"v9 uptime before it wrapped", true, []int{1, 1, 22, 4, 21, 4}, join([]byte{1}, words(0xffff, 0xffff), words(0, 0)), exportTime - hour - 1, exportTime - hour},
		{"seconds", false, []int{1, 1, 150, 4, 151, 4}, join([]byte{1}, words(0, 10, 0, 11)), 10_000, 11_000},
		{"seconds in 8 octets", false, []int{1, 1, 150, 8, 151, 8}, join([]byte{1}, words(0, 0, 0, 10, 0, 0, 0, 11)), 10_000, 11_000},
		{"NTP", false, []int{1, 1, 154, 8, 157, 8}, join([]byte{1}, words(0x83aa, 0x7e80+10, 0x8000, 0), words(0x83aa, 0x7e80+11, 0, 0)), 10_500, 11_000},
		{"NTP, cut off where the fraction ends", false, []int{1, 1, 154, 8, 157, 8}, join([]byte{1}, words(0x83aa, 0x7e80+10, 0x1f7c, 0xed91), words(0x83aa, 0x7e80+11, 0x1f7c, 0xe800)), 10_123, 11_123},
		{"microseconds before export", false, []int{1, 1, 158, 4, 159, 4}, join([]byte{1}, words(0x1e, 0x8480), words(0xf, 0x4240)), exportTime - 2000, exportTime - 1000},
		{"IPFIX uptime with boot time", false, []int{1, 1, 22, 4, 21, 4, 160, 8}, join([]byte{1}, words(0, 5000, 0, 6000), words(0, 1, 0, 0)), 1<<32 + 5000, 1<<32 + 6000},
		{"IPFIX uptime without", false, []int{1, 1, 22, 4, 21, 4}, join([]byte{1}, words(0, 5000, 0, 6000)), exportTime - 1000, exportTime},
		{"start and duration", false, []int{1, 1, 152, 8, 161, 4}, join([]byte{1}, words(0, 0, 0, 5000), words(0, 700)), 5000, 5700},
		{"end and duration", false, []int{1, 1, 153, 8, 162, 4}, join([]byte{1}, words(0, 0, 0, 5000), words(0xa, 0xae60)), 4300, 5000},
		{"an event", false, []int{1, 1, 323, 8}, join([]byte{1}, words(0, 0, 0, 5000)), 5000, 5000},
		{"a start and an event", false, []int{1, 1, 152, 8, 323, 8}, join([]byte{1}, words(0, 0, 0, 5000), words(0, 0, 0, 5060)), 5000, 5060},
		{"none", false, []int{1, 1}, []byte{1}, exportTime, exportTime},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := one(t, c.netflow9, c.fields, c.data)
			if r.FlowStartMilliseconds != c.start || r.FlowEndMilliseconds != c.end {
				t.Errorf("%d to %d, want %d to %d", r.FlowStartMilliseconds, r.FlowEndMilliseconds, c.start, c.end)
			}
		})
	}
	r := one(t, false, []int{1, 1, 152, 8, 150, 8, 158, 8, 22, 4}, join([]byte{1}, words(0xffff, 0xffff, 0xffff, 0xffff),
		words(0xffff, 0xffff, 0xffff, 0xffff), words(0xffff, 0xffff, 0xffff, 0xffff), words(0xffff, 0xffff)))
	if r.FlowStartMilliseconds < 0 {
		t.Errorf("hostile time became %d", r.FlowStartMilliseconds)
	}
}

// A boot time in option data serves later records.
func TestRecordBootTimeFromOptions(t *testing.T) {
	out := decodeAll(t,
		ipfixMessage(0, set(3, words(257, 2, 1, 144, 4, 160, 8)), set(257, words(0, 7), words(0, 1, 0, 0))),
		ipfixMessage(1, set(2, words(256, 2, 1, 4, 22, 4)), set(256, words(0, 9, 0, 5000))))
	if len(out) != 1 || out[0].FlowStartMilliseconds != 1<<32+5000 {
		t.Errorf("%+v", out)
	}
}

func TestRecordAddressFamilies(t *testing.T) {
	v6 := join(words(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), words(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2))
	fields := []int{27, 16, 28, 16, 8, 4, 12, 4, 1, 4}
	if r := one(t, false, fields, join(v6, words(0, 0, 0, 0), words(0, 1))); r.SourceAddress.String() != "2001:db8::1" || r.DestinationAddress.String() != "2001:db8::2" {
		t.Errorf("IPv6 of a template with both: %v to %v", r.SourceAddress, r.DestinationAddress)
	}
	if r := one(t, false, fields, join(make([]byte, 32), []byte{10, 0, 0, 1, 10, 0, 0, 2}, words(0, 1))); r.SourceAddress.String() != "10.0.0.1" || r.DestinationAddress.String() != "10.0.0.2" {
		t.Errorf("IPv4 of a template with both: %v to %v", r.SourceAddress, r.DestinationAddress)
	}
}

func TestRecordICMP(t *testing.T) {
	if r := one(t, false, []int{1, 1, 176, 1, 177, 1}, []byte{1, 3, 4}); r.ICMPTypeCode != 0x0304 {
		t.Errorf("type and code apart: %#x", r.ICMPTypeCode)
	}
	if r := one(t, false, []int{1, 1, 139, 2}, []byte{1, 128, 0}); r.ICMPTypeCode != 0x8000 {
		t.Errorf("ICMPv6: %#x", r.ICMPTypeCode)
	}
}

// Sections of packets in flow records (RFC 5477) are read like sFlow's.
func TestRecordPacketSection(t *testing.T) {
	ip := unhex(t, "4500 0054 0001 4000 4011 0000 0a01 0203 c633 6407 0035 1f90 0040 0000")
	r := one(t, false, []int{313, 0xffff}, append([]byte{byte(len(ip))}, ip...))
	if r.SourceAddress.String() != "10.1.2.3" || r.DestinationTransportPort != 8080 || r.OctetDeltaCount != 84 || r.PacketDeltaCount != 1 {
		t.Errorf("%+v", r)
	}
	frame := join(make([]byte, 12), words(0x0800), ip)
	r = one(t, false, []int{315, len(frame), 10, 4}, join(frame, words(0, 3)))
	if r.SourceAddress.String() != "10.1.2.3" || r.OctetDeltaCount != 84 || r.IngressInterface != 3 {
		t.Errorf("%+v", r)
	}
}

func TestSampling(t *testing.T) {
	flowTemplate := set(0, template4(), words(257, 4, 8, 4, 12, 4, 1, 4, 48, 1))
	options := func(id int, interval int) [][]byte {
		return [][]byte{
			set(1, words(300, 4, 12, 1, 4, 48, 1, 49, 1, 50, 4)),
			set(300, []byte{0, 0, 0, 0, byte(id), 2}, words(0, interval)),
		}
	}
	withID := func(id byte) []byte {
		return set(257, []byte{10, 0, 0, 1, 10, 0, 0, 2}, words(0, 1500), []byte{id})
	}
	plain := set(256, data4())
	for _, c := range []struct {
		name     string
		messages [][]byte
		interval uint32
		exact    flow.Exactness
	}{
		{"not said", [][]byte{netflow9Message(0, 1, flowTemplate, plain)}, 0, flow.Estimated},
		{"by ID", [][]byte{netflow9Message(0, 1, flowTemplate), netflow9Message(1, 1, join(options(3, 1000)...)), netflow9Message(2, 1, withID(3))}, 1000, flow.Sampled},
		{"by another ID of two", [][]byte{netflow9Message(0, 1, flowTemplate, join(options(3, 1000)...), join(options(4, 50)...)), netflow9Message(1, 1, withID(4))}, 50, flow.Sampled},
		{"the only sampler, for records without an ID", [][]byte{netflow9Message(0, 1, flowTemplate, join(options(3, 1000)...)), netflow9Message(1, 1, plain)}, 1000, flow.Sampled},
		{"one of two, for records without an ID", [][]byte{netflow9Message(0, 1, flowTemplate, join(options(3, 1000)...), join(options(4, 50)...)), netflow9Message(1, 1, plain)}, 0, flow.Estimated},
		{"for all", [][]byte{netflow9Message(0, 1, set(1, words(300, 4, 8, 1, 4, 34, 4, 35, 1)), set(300, words(0, 0, 0, 64), []byte{2})), netflow9Message(1, 1, flowTemplate, plain)}, 64, flow.Sampled},
		{"all packets", [][]byte{netflow9Message(0, 1, set(1, words(300, 4, 8, 1, 0, 35, 1, 34, 4)), set(300, []byte{2}, words(0, 1))), netflow9Message(1, 1, flowTemplate, plain)}, 1, flow.Exact},
		{"changed", [][]byte{netflow9Message(0, 1, flowTemplate, join(options(3, 1000)...)), netflow9Message(1, 1, set(300, []byte{0, 0, 0, 0, 3, 2}, words(0, 10))), netflow9Message(2, 1, withID(3))}, 10, flow.Sampled},
		{"IPFIX interval and space, by selector", [][]byte{ipfixMessage(0, set(3, words(300, 3, 1, 302, 4, 305, 4, 306, 4)), set(300, words(0, 9, 0, 1, 0, 999)),
			set(2, words(257, 2, 1, 4, 302, 4)), set(257, words(0, 1500, 0, 9)))}, 1000, flow.Sampled},
		{"IPFIX sample of a population", [][]byte{ipfixMessage(0, set(3, words(300, 3, 1, 302, 4, 309, 4, 310, 4)), set(300, words(0, 9, 0, 2, 0, 512)),
			set(2, words(257, 2, 1, 4, 302, 4)), set(257, words(0, 1500, 0, 9)))}, 256, flow.Sampled},
		{"IPFIX probability", [][]byte{ipfixMessage(0, set(3, words(300, 2, 1, 302, 4, 311, 8)), set(300, words(0, 9), float(0.01)),
			set(2, words(257, 2, 1, 4, 302, 4)), set(257, words(0, 1500, 0, 9)))}, 100, flow.Sampled},
		{"in the record", [][]byte{ipfixMessage(0, set(2, words(257, 2, 1, 4, 34, 4)), set(257, words(0, 1500, 0, 128)))}, 128, flow.Sampled},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := decodeAll(t, c.messages...)
			if len(out) != 1 {
				t.Fatalf("%d records", len(out))
			}
			r := out[0]
			if r.SamplingPacketInterval != c.interval || r.Exactness != c.exact {
				t.Errorf("1 in %d, %v", r.SamplingPacketInterval, r.Exactness)
			}
			if r.OctetDeltaCount != 1500 || r.ScaledOctets() != 1500*uint64(max(c.interval, 1)) {
				t.Errorf("%d octets, scaled %d", r.OctetDeltaCount, r.ScaledOctets())
			}
		})
	}
}

func float(f float64) []byte {
	v := math.Float64bits(f)
	return words(int(v>>48), int(v>>32&0xffff), int(v>>16&0xffff), int(v&0xffff))
}

// Options templates without a scope are against the rules, and read.
func TestOptionsWithoutScope(t *testing.T) {
	out := decodeAll(t, ipfixMessage(0, set(3, words(300, 1, 0, 34, 4)), set(300, words(0, 64)),
		set(2, words(257, 1, 1, 4)), set(257, words(0, 1500))))
	if len(out) != 1 || out[0].SamplingPacketInterval != 64 {
		t.Errorf("%+v", out)
	}
}

// Some exporters announce samplers in another domain than their flows.
func TestSamplingOfAnotherDomain(t *testing.T) {
	options := netflow9Message(0, 1, set(1, words(300, 4, 8, 1, 4, 34, 4, 35, 1)), set(300, words(0, 0, 0, 64), []byte{2}))
	options[19] = 77
	out := decodeAll(t, options, netflow9Message(0, 1, set(0, template4()), set(256, data4())))
	if len(out) != 1 || out[0].SamplingPacketInterval != 64 {
		t.Errorf("%+v", out)
	}
}

func TestSamplingOverride(t *testing.T) {
	p := packet(ipfixMessage(0, set(2, words(257, 2, 1, 4, 34, 4)), set(257, words(0, 1500, 0, 128))))
	p.Sampling = 7
	out, _, err := NewDecoder(NewStore(Limits{})).Decode(nil, p)
	if err != nil || len(out) != 1 || out[0].SamplingPacketInterval != 7 {
		t.Errorf("%+v, %v", out, err)
	}
	v5 := make([]byte, netflow5Header+netflow5Record)
	copy(v5, words(5, 1))
	copy(v5[22:], words(0x4000|100))
	if out := decodeAll(t, v5); out[0].SamplingPacketInterval != 100 || out[0].Exactness != flow.Sampled {
		t.Errorf("v5: %+v", out[0])
	}
	var shown string
	NewDecoder(NewStore(Limits{})).Visit(packet(v5), func(r *DataRecord) { shown = string(r.AppendJSON(nil)) })
	if !strings.Contains(shown, `"samplingInterval":100`) {
		t.Errorf("v5 is shown as %s", shown)
	}
}

func TestSamplersAreBounded(t *testing.T) {
	store := NewStore(Limits{Samplers: 10})
	d := NewDecoder(store)
	for id := range 100 {
		b := ipfixMessage(0, set(3, words(300, 2, 1, 302, 4, 34, 4)), set(300, words(0, id, 0, 5)))
		if _, _, err := d.Decode(nil, packet(b)); err != nil {
			t.Fatal(err)
		}
	}
	if c := store.Exporters()[0].Counters; c.SamplersRefused != 90 {
		t.Errorf("%d refused", c.SamplersRefused)
	}
}
