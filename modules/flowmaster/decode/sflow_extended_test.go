package decode

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

// shown visits a datagram and returns its records as JSON has them.
func shown(t *testing.T, b []byte) (list []map[string]any, res Result, err error) {
	t.Helper()
	res, err = NewDecoder(NewStore(Limits{})).Visit(packet(b), func(r *DataRecord) {
		var m map[string]any
		if err := json.Unmarshal(r.AppendJSON(nil), &m); err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	})
	return list, res, err
}

// text is a string as sFlow has it.
func text(s string) []byte {
	return append(append(xdr(uint32(len(s))), s...), make([]byte, -len(s)&3)...)
}

func checkFields(t *testing.T, got, want map[string]any) {
	t.Helper()
	for name, value := range want {
		if g, w := mustJSON(t, got[name]), mustJSON(t, value); g != w {
			t.Errorf("%s is %s, want %s", name, g, w)
		}
	}
}

// The records that say nothing a flow record has a place for are shown all the same.
func TestSFlowExtendedRecords(t *testing.T) {
	v6 := xdr(0x20010db8, 0, 0, 9)
	b := sflowDatagram(flowSampleOf(0,
		sflowTCP4(t)[40:],
		sized(1004, join(xdr(106), text("alice"), xdr(3), text(""))),
		sized(1005, join(xdr(2), text("/a?b=c"), text("www.example.com"))),
		sized(1006, join(xdr(1, 0x0a0000fe), xdr(2, 100<<12|64, 200<<12|1<<8|64), xdr(1, 300<<12|1<<8|63))),
		sized(1007, join(xdr(1, 0xc6336409), xdr(2), v6)),
		sized(1008, join(text("lsp-7"), xdr(70, 5))),
		sized(1009, join(text("vc"), xdr(71, 6))),
		sized(1010, join(text("ftn"), xdr(0xff))),
		sized(1011, xdr(24)),
		sized(1012, xdr(2, 0x88a80064, 0x810020c8)),
		sized(1020, xdr(40000, 443)),
		sized(1023, xdr(120, 47, 0x0a000001, 0x0a000002, 0, 0, 0, 8)),
		sized(1030, xdr(5001)),
		sized(2101, join(xdr(6), v6, v6, xdr(443, 50000))),
		sized(9<<12|77, []byte{1, 2, 3}),
	))
	list, _, err := shown(t, b)
	if err != nil || len(list) != 1 {
		t.Fatal(len(list), err)
	}
	checkFields(t, list[0], map[string]any{
		"sflowSourceCharset": 106, "sflowSourceUser": "alice", "sflowDestinationCharset": 3, "sflowDestinationUser": "",
		"sflowUrlDirection": 2, "sflowUrl": "/a?b=c", "httpRequestHost": "www.example.com",
		"mplsTopLabelIPv4Address": "10.0.0.254", "sflowMplsInLabels": []int{100, 200}, "sflowMplsOutLabels": []int{300},
		"postNATSourceIPv4Address": "198.51.100.9", "postNATDestinationIPv6Address": "2001:db8::9",
		"sflowMplsTunnelName": "lsp-7", "sflowMplsTunnelId": 70, "sflowMplsTunnelCos": 5,
		"sflowMplsVcName": "vc", "sflowMplsVcId": 71, "sflowMplsVcCos": 6,
		"sflowMplsFtnDescription": "ftn", "sflowMplsFtnMask": 255, "sflowMplsFecPrefixLength": 24, "sflowVlanTunnel": []int{100, 200},
		"postNAPTSourceTransportPort": 40000, "postNAPTDestinationTransportPort": 443,
		"sflowTunnelEgressProtocol": 47, "sflowTunnelEgressSourceIPv4Address": "10.0.0.1", "sflowTunnelEgressTos": 8,
		"sflowVniIngress": 5001, "sflowSocketRemoteIPv6Address": "2001:db8::9", "sflowSocketLocalPort": 443,
		"flow9/77": "0x010203", "sourceIPv4Address": "10.1.2.3",
	})
	masked := false
	if _, err := NewDecoder(NewStore(Limits{})).Visit(packet(b), func(r *DataRecord) {
		r.Mask(0, 0)
		line := string(r.AppendJSON(nil))
		masked = strings.Contains(line, `"flow9/77":null`) && !strings.Contains(line, "198.51") && !strings.Contains(line, "db8") && !strings.Contains(line, "10.0.0")
	}); err != nil || !masked {
		t.Errorf("not all that may hold addresses is masked: %v", err)
	}
}

// What a gateway says of the neighbours, and that a packet was sampled but discarded.
func TestSFlowGatewayAndDiscards(t *testing.T) {
	gateway := sized(sflowExtendedGate, xdr(1, 0x0a0000fd, 64500, 64501, 64502, 2, 2, 1, 64503, 1, 2, 64504, 64505, 0, 100))
	long := sized(sflowExpandedFlowSample, join(xdr(1, 0, 2, 512, 5120, 0, 0, 4, 1, 258, 1), sflowTCP4(t)[40:]))
	short := sized(sflowFlowSample, join(xdr(1, 2, 512, 5120, 0, 4, 1<<30|258, 1), sflowTCP4(t)[40:]))
	list, _, err := shown(t, sflowDatagram(flowSampleOf(0, sflowTCP4(t)[40:], gateway), long, short))
	if err != nil || len(list) != 3 {
		t.Fatal(len(list), err)
	}
	checkFields(t, list[0], map[string]any{
		"bgpNextHopIPv4Address": "10.0.0.253", "bgpSourceAsNumber": 64501, "bgpPrevAdjacentAsNumber": 64502,
		"bgpNextAdjacentAsNumber": 64503, "bgpDestinationAsNumber": 64505, "sflowDiscardReason": nil,
	})
	for _, r := range list[1:] {
		checkFields(t, r, map[string]any{"sflowDiscardReason": 258, "egressInterface": 0, "sourceIPv4Address": "10.1.2.3"})
	}
}

// The headers of packets that did not come in an Ethernet frame.
func TestSFlowHeaderProtocols(t *testing.T) {
	ip := unhex(t, "4500 0054 0000 0000 4001 0000 0a00 0001 0a00 0002 0800 0000")
	for _, c := range []struct {
		name     string
		protocol uint32
		header   []byte
		section  string
		known    bool
	}{
		{"PPP", 7, join(unhex(t, "ff03 0021"), ip), "dataLinkFrameSection", true},
		{"PPP with its header compressed", 7, join(unhex(t, "21"), ip), "dataLinkFrameSection", true},
		{"IPv4", 11, ip, "ipHeaderPacketSection", true},
		{"MPLS", 13, join(unhex(t, "0001 0040 0001 1140"), ip), "mplsLabelStackSection", true},
		{"POS", 14, join(unhex(t, "ff03 0021"), ip), "dataLinkFrameSection", true},
		{"frame relay", 5, ip, "dataLinkFrameSection", false},
	} {
		list, _, err := shown(t, sflowDatagram(flowSampleOf(0, rawHeader(c.protocol, 110, c.header))))
		if err != nil || len(list) != 1 || list[0][c.section] == nil || (list[0]["sourceIPv4Address"] == "10.0.0.1") != c.known {
			t.Errorf("%s: %v, %v", c.name, list, err)
		}
	}
}

func TestSFlowCounterRecords(t *testing.T) {
	b := sflowDatagram(sized(sflowCounterSample, join(xdr(1, 2, 8),
		sized(2, xdr(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)),
		sized(5, xdr(100, 1, 2, 3, 4, 5, 6)),
		sized(7, join([]byte{2, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0}, xdr(9, 0x3f3d3d3f, 1, 2, 3, 4, 5, 6, 7, 8))),
		sized(1001, xdr(100, 200, 300, 0, 1<<30, 0, 1<<20)),
		sized(2000, join(text("web-1"), make([]byte, 15), []byte{7}, xdr(3, 2), text("6.18"))),
		sized(2003, xdr(math.Float32bits(0.5), math.Float32bits(1), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)), // without the last three
		sized(2010, xdr(1, 2, 3, 4, 5, 6, 7, 8)),                                                                       // with one more
		sized(4300<<12|1, []byte{1, 2}),
	)))
	list, _, err := shown(t, b)
	if err != nil || len(list) != 1 {
		t.Fatal(len(list), err)
	}
	checkFields(t, list[0], map[string]any{
		"dot3StatsAlignmentErrors": 1, "dot3StatsSymbolErrors": 13, "vlanId": 100, "octets": 1<<32 + 2, "discards": 6,
		"dot3adAggPortActorSystemID": "02:00:00:00:00:01", "dot3adAggPortAttachedAggID": 9, "dot3adAggPortState": "0x3f3d3d3f",
		"dot3adAggPortStatsMarkerResponsePDUsTx": 8, "cpu5m": 300, "totalMemory": 1 << 30, "freeMemory": 1 << 20,
		"hostname": "web-1", "uuid": "0x00000000000000000000000000000007", "osRelease": "6.18", "loadOne": 0.5, "contexts": 14, "cpuSteal": nil,
		"udpInCsumErrors": 7, "counters4300/1": "0x0102",
	})
}

// Records that end within a field, or tell of more than there is, are reported, and the rest is there.
func TestSFlowExtendedFaults(t *testing.T) {
	for name, record := range map[string][]byte{
		"labels without end": sized(1006, xdr(1, 1, 0x3fffffff)),
		"a name too long":    sized(1008, xdr(0xffffffff, 1)),
		"half an address":    sized(1007, xdr(2, 1, 2)),
		"half a number":      sized(1011, []byte{1, 2}),
	} {
		list, res, err := shown(t, sflowDatagram(flowSampleOf(0, record, sflowTCP4(t)[40:])))
		if err == nil || len(list) != 1 || res.Records != 1 || list[0]["sourceIPv4Address"] != "10.1.2.3" {
			t.Errorf("%s: %v, %v", name, list, err)
		}
	}
}
