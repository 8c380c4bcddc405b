package decode

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"testing"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// xdr appends 32-bit words.
func xdr(values ...uint32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// sized puts the format and length before body, and pads it to full words.
func sized(format uint32, body []byte) []byte {
	b := append(xdr(format, uint32(len(body))), body...)
	return append(b, make([]byte, -len(body)&3)...)
}

// sflowDatagram is datagram 7 of sub-agent 3 at 192.0.2.9.
func sflowDatagram(samples ...[]byte) []byte {
	return join(xdr(5, 1, 0xc0000209, 3, 7, 1000, uint32(len(samples))), join(samples...))
}

// flowSampleOf is a sample taken 1 in 512, from interface 4 to 5.
func flowSampleOf(drops uint32, records ...[]byte) []byte {
	return sized(sflowFlowSample, join(xdr(1, 2, 512, 5120, drops, 4, 5, uint32(len(records))), join(records...)))
}

// rawHeader is a record of the beginning of a frame of frameOctets.
func rawHeader(protocol uint32, frameOctets int, header []byte) []byte {
	return sized(sflowRawHeader, append(xdr(protocol, uint32(frameOctets), 4, uint32(len(header))), header...))
}

func sflowTCP4(t testing.TB) []byte {
	return flowSampleOf(0, rawHeader(sflowHeaderEthernet, 1518, unhex(t, `
		0200 0000 0001 0200 0000 0002 8100 2064 0800
		4510 05dc 0001 4000 4006 0000 0a01 0203 c633 6407
		01bb c350 0000 0001 0000 0002 5018 ffff 0000 0000`)))
}

func TestSFlowRecords(t *testing.T) {
	ipv6 := unhex(t, `0200 0000 0001 0200 0000 0002 86dd
		6120 0000 0028 0040 2001 0db8 0000 0000 0000 0000 0000 0001 2001 0db8 0000 0000 0000 0000 0000 0002
		1100 0104 0000 0000 0035 1f90 0020 0000`)
	mpls := unhex(t, `0200 0000 0001 0200 0000 0002 8847 0001 0040 0001 1140
		4500 0054 0000 0000 4001 0000 0a00 0001 0a00 0002 0800 0000`)
	fragment := unhex(t, `4500 05dc 0001 00b9 4011 0000 0a01 0203 c633 6407 0101 0202`)
	offload := unhex(t, `0200 0000 0001 0200 0000 0002 0800
		4500 0000 0001 4000 4006 0000 0a01 0203 c633 6407 01bb c350 0000 0001 0000 0002 5010 ffff 0000 0000`)
	for _, c := range []struct {
		name   string
		sample []byte
		want   flow.Record
	}{
		{"TCP in a VLAN", sflowTCP4(t), flow.Record{
			SourceAddress: flow.AddrFrom4(0x0a010203), DestinationAddress: flow.AddrFrom4(0xc6336407),
			SourceTransportPort: 443, DestinationTransportPort: 50000, ProtocolIdentifier: 6, TCPControlBits: 0x18,
			IPClassOfService: 0x10, VlanID: 100, OctetDeltaCount: 1500,
		}},
		{"UDP behind hop-by-hop options of IPv6", flowSampleOf(0, rawHeader(sflowHeaderEthernet, 98, ipv6)), flow.Record{
			SourceAddress: flow.AddrFrom16(0x20010db8_00000000, 1), DestinationAddress: flow.AddrFrom16(0x20010db8_00000000, 2),
			SourceTransportPort: 53, DestinationTransportPort: 8080, ProtocolIdentifier: 17, IPClassOfService: 0x12, OctetDeltaCount: 80,
		}},
		{"ICMP under two labels", flowSampleOf(0, rawHeader(sflowHeaderEthernet, 110, mpls)), flow.Record{
			SourceAddress: flow.AddrFrom4(0x0a000001), DestinationAddress: flow.AddrFrom4(0x0a000002),
			ProtocolIdentifier: 1, ICMPTypeCode: 0x0800, OctetDeltaCount: 84,
		}},
		{"a later fragment has no ports", flowSampleOf(0, rawHeader(sflowHeaderIPv4, 1500, fragment)), flow.Record{
			SourceAddress: flow.AddrFrom4(0x0a010203), DestinationAddress: flow.AddrFrom4(0xc6336407), ProtocolIdentifier: 17, OctetDeltaCount: 1500,
		}},
		{"an IP length of 0", flowSampleOf(0, rawHeader(sflowHeaderEthernet, 65014, offload)), flow.Record{
			SourceAddress: flow.AddrFrom4(0x0a010203), DestinationAddress: flow.AddrFrom4(0xc6336407), SourceTransportPort: 443,
			DestinationTransportPort: 50000, ProtocolIdentifier: 6, TCPControlBits: 0x10, OctetDeltaCount: 65000,
		}},
		{"fields one by one, switch, router and gateway", flowSampleOf(0,
			sized(sflowIPv4, xdr(600, 6, 0x0a010203, 0xc6336407, 80, 50001, 0x12, 8)),
			sized(sflowExtendedSwitch, xdr(10, 0, 20, 0)),
			sized(sflowExtendedRouter, xdr(1, 0x0a0000fe, 24, 16)),
			sized(sflowExtendedGate, xdr(1, 0x0a0000fd, 64500, 64501, 64502, 1, 2, 2, 64503, 64504, 0, 100)),
		), flow.Record{
			SourceAddress: flow.AddrFrom4(0x0a010203), DestinationAddress: flow.AddrFrom4(0xc6336407), SourceTransportPort: 80,
			DestinationTransportPort: 50001, ProtocolIdentifier: 6, TCPControlBits: 0x12, IPClassOfService: 8, VlanID: 10,
			SourcePrefixLength: 24, DestinationPrefixLength: 16, SourceAS: 64501, DestinationAS: 64504, OctetDeltaCount: 600,
		}},
		{"not IP", flowSampleOf(0, rawHeader(sflowHeaderEthernet, 64, unhex(t, "ffff ffff ffff 0200 0000 0002 0806 0001"))), flow.Record{
			OctetDeltaCount: 64,
		}},
		{"an expanded sample", sized(sflowExpandedFlowSample, join(xdr(1, 0, 2, 512, 5120, 0, 0, 4, 0, 5, 1), rawHeader(sflowHeaderIPv4, 1500, fragment))), flow.Record{
			SourceAddress: flow.AddrFrom4(0x0a010203), DestinationAddress: flow.AddrFrom4(0xc6336407), ProtocolIdentifier: 17, OctetDeltaCount: 1500,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := sflowDatagram(c.sample)
			if _, err := both(t, b); err != nil {
				t.Fatal(err)
			}
			out, res, _ := NewDecoder(NewStore(Limits{})).Decode(nil, packet(b))
			if len(out) != 1 || res.Domain != 3 || res.Sequence != 7 {
				t.Fatalf("%d records, %+v", len(out), res)
			}
			w := c.want
			w.Exporter, w.ObservationDomainID = flow.AddrFrom(testExporter), 3
			w.ReceivedMilliseconds = testTime.UnixMilli()
			w.FlowStartMilliseconds, w.FlowEndMilliseconds = w.ReceivedMilliseconds, w.ReceivedMilliseconds
			w.PacketDeltaCount, w.IngressInterface, w.EgressInterface = 1, 4, 5
			w.SamplingPacketInterval, w.Exactness = 512, flow.Sampled
			w.Source, w.Leg = flow.SourceSFlow, flow.LegObserved
			if out[0] != w {
				t.Errorf("got  %+v\nwant %+v", out[0], w)
			}
			if out[0].ScaledOctets() != 512*w.OctetDeltaCount {
				t.Errorf("scaled to %d", out[0].ScaledOctets())
			}
		})
	}
}

func TestSFlowVisit(t *testing.T) {
	counters := sized(sflowCounterSample, join(xdr(1, 2, 2),
		sized(1, join(xdr(9, 6, 0, 1000000000, 1, 3, 1, 2), make([]byte, 56))), sized(10, []byte{1, 2})))
	var got []map[string]any
	discarded := sized(sflowDiscardedPacket, join(xdr(1, 0, 2, 17, 4, 5, 256, 1), sflowTCP4(t)[40:]))
	_, err := NewDecoder(NewStore(Limits{})).Visit(packet(sflowDatagram(sflowTCP4(t), counters, discarded)), func(r *DataRecord) {
		var m map[string]any
		if err := json.Unmarshal(r.AppendJSON(nil), &m); err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	})
	if err != nil || len(got) != 3 {
		t.Fatal(len(got), err)
	}
	for i, want := range []map[string]any{{
		"source": "sflow", "samplingInterval": 512., "sourceIPv4Address": "10.1.2.3", "destinationTransportPort": 50000.,
		"octetDeltaCount": 1500., "dataLinkFrameSize": 1518., "vlanId": 100., "sourceMacAddress": "02:00:00:00:00:02", "tcpControlBits": 24.,
	}, {
		"counters": true, "ifIndex": 9., "ifSpeed": 1e9, "ifInOctets": 4294967298., "counters0/10": "0x0102",
		"exporterIPv4Address": "192.0.2.9", "sysUpTime": 1000.,
	}, {
		"sourceIPv4Address": "10.1.2.3", "ingressInterface": 4., "egressInterface": 5., "droppedPacketDeltaCount": 1.,
		"sflowDiscardReason": 256., "sflowDiscardedUnsampled": 17., "exporterIPv4Address": "192.0.2.9", "octetDeltaCount": nil,
	}} {
		for name, value := range want {
			if g, w := mustJSON(t, got[i][name]), mustJSON(t, value); g != w {
				t.Errorf("%s is %s, want %s", name, g, w)
			}
		}
	}
}

func TestSFlowFaults(t *testing.T) {
	sample := sflowTCP4(t)
	for _, c := range []struct {
		name    string
		b       []byte
		records int
		want    error
	}{
		{"more samples than there are", join(sflowDatagram(sample)[:24], xdr(2), sample), 1, ErrTruncated},
		{"billions of samples", join(sflowDatagram(sample)[:24], xdr(0xffffffff), sample), 1, ErrTruncated},
		{"an address of no family", xdr(5, 3, 1, 2, 3, 4, 5, 6), 0, ErrLength},
		{"a sample longer than the datagram", sflowDatagram(xdr(1, 0xfffffff0, 1)), 0, ErrTruncated},
		{"a sample of billions of records", sflowDatagram(sized(1, xdr(1, 2, 512, 5120, 0, 4, 5, 0xffffffff))), 0, ErrLength},
		{"a record longer than its sample", sflowDatagram(flowSampleOf(0, xdr(1, 5000, 1))), 0, ErrTruncated},
		{"a header longer than its record", sflowDatagram(flowSampleOf(0, sized(1, xdr(1, 1500, 4, 9999)))), 1, ErrTruncated},
		{"a path longer than its record", sflowDatagram(flowSampleOf(0, sized(sflowExtendedGate, xdr(1, 1, 2, 3, 4, 1, 2, 0x3fffffff, 5)))), 1, ErrTruncated},
		{"a switch record cut short", sflowDatagram(flowSampleOf(0, sized(sflowExtendedSwitch, xdr(1, 2)))), 1, ErrTruncated},
		{"an agent that does not know its address", join(xdr(5, 0, 3, 7, 1000, 1), sample), 1, nil},
		{"a discarded packet cut short", sflowDatagram(sized(sflowDiscardedPacket, xdr(1, 2)), sample), 1, ErrTruncated},
		{"a discarded packet of billions of records", sflowDatagram(sized(sflowDiscardedPacket, xdr(1, 0, 2, 0, 4, 5, 6, 0xffffffff)), sample), 1, ErrTruncated},
		{"an enterprise's sample", sflowDatagram(sized(9<<12|1, xdr(1)), sample), 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, err := both(t, c.b)
			if res.Records != c.records || !errors.Is(err, c.want) {
				t.Errorf("%d records, %v", res.Records, err)
			}
		})
	}
	whole := sflowDatagram(sample)
	for n := range whole {
		if res, err := both(t, whole[:n]); res.Records != 0 || err == nil {
			t.Errorf("cut at %d: %d records, %v", n, res.Records, err)
		}
	}
}

func TestSFlowAgentDrops(t *testing.T) {
	store := NewStore(Limits{})
	d := NewDecoder(store)
	for _, drops := range []uint32{100, 103, 103, 110} {
		d.Decode(nil, packet(sflowDatagram(flowSampleOf(drops))))
	}
	if c := store.Exporters()[0].Counters; c.AgentDrops != 10 || c.Records != 4 {
		t.Errorf("%+v", c)
	}
}
