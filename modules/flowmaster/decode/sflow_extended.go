package decode

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// sflowKind is how a field of an sFlow structure is laid out.
type sflowKind uint8

const (
	sflowNumber   sflowKind = iota // 32 bits
	sflowNumber8                   // 64 bits
	sflowFloat                     // 32 bits
	sflowText                      // a length and so many octets
	sflowMAC                       // 6 octets and padding
	sflowIPv4At                    // 4 octets
	sflowIPv6At                    // 16 octets
	sflowOctets4                   // 4 octets that are no number
	sflowOctets16                  // 16 of them
	sflowAnyIP                     // a family and an address; named for IPv4, or else by then
	sflowLabels                    // a count and so many MPLS labels
	sflowVlans                     // a count and so many tags of VLANs
)

// sflowField is one field of an sFlow structure and what it is called in output: by
// the name IANA has, else that of the MIB it is from, else "sflow" and sflow.org's.
type sflowField struct {
	name string
	kind sflowKind
	then string // the name for IPv6
}

// extendedRecords are the flow records that are only shown, by format (sflow.org, "sFlow
// Version 5" and the structures published after it). None says anything that a flow.Record
// has a place for.
var extendedRecords = map[uint32][]sflowField{
	1004: {{name: "sflowSourceCharset"}, {name: "sflowSourceUser", kind: sflowText}, {name: "sflowDestinationCharset"}, {name: "sflowDestinationUser", kind: sflowText}},
	1005: {{name: "sflowUrlDirection"}, {name: "sflowUrl", kind: sflowText}, {name: "httpRequestHost", kind: sflowText}},
	1006: {
		{name: "mplsTopLabelIPv4Address", kind: sflowAnyIP, then: "mplsTopLabelIPv6Address"},
		{name: "sflowMplsInLabels", kind: sflowLabels}, {name: "sflowMplsOutLabels", kind: sflowLabels},
	},
	1007: {
		{name: "postNATSourceIPv4Address", kind: sflowAnyIP, then: "postNATSourceIPv6Address"},
		{name: "postNATDestinationIPv4Address", kind: sflowAnyIP, then: "postNATDestinationIPv6Address"},
	},
	1008: {{name: "sflowMplsTunnelName", kind: sflowText}, {name: "sflowMplsTunnelId"}, {name: "sflowMplsTunnelCos"}},
	1009: {{name: "sflowMplsVcName", kind: sflowText}, {name: "sflowMplsVcId"}, {name: "sflowMplsVcCos"}},
	1010: {{name: "sflowMplsFtnDescription", kind: sflowText}, {name: "sflowMplsFtnMask"}},
	1011: {{name: "sflowMplsFecPrefixLength"}},
	1012: {{name: "sflowVlanTunnel", kind: sflowVlans}},
	1020: {{name: "postNAPTSourceTransportPort"}, {name: "postNAPTDestinationTransportPort"}},
	1023: sampledIPv4("sflowTunnelEgress"),
	1024: sampledIPv4("sflowTunnelIngress"),
	1025: sampledIPv6("sflowTunnelEgress"),
	1026: sampledIPv6("sflowTunnelIngress"),
	1027: {{name: "sflowDecapsulateEgress"}},
	1028: {{name: "sflowDecapsulateIngress"}},
	1029: {{name: "sflowVniEgress"}},
	1030: {{name: "sflowVniIngress"}},
	1036: {{name: "sflowEgressQueue"}},
	1037: {{name: "sflowAclNumber"}, {name: "sflowAclName", kind: sflowText}, {name: "sflowAclDirection"}},
	1038: {{name: "sflowFunction", kind: sflowText}},
	2100: {
		{name: "sflowSocketProtocol"}, {name: "sflowSocketLocalIPv4Address", kind: sflowIPv4At},
		{name: "sflowSocketRemoteIPv4Address", kind: sflowIPv4At}, {name: "sflowSocketLocalPort"}, {name: "sflowSocketRemotePort"},
	},
	2101: {
		{name: "sflowSocketProtocol"}, {name: "sflowSocketLocalIPv6Address", kind: sflowIPv6At},
		{name: "sflowSocketRemoteIPv6Address", kind: sflowIPv6At}, {name: "sflowSocketLocalPort"}, {name: "sflowSocketRemotePort"},
	},
}

// sampledIPv4 is the header of a tunnel, as a record of format 3 has a packet's.
func sampledIPv4(name string) []sflowField {
	return []sflowField{
		{name: name + "Length"}, {name: name + "Protocol"}, {name: name + "SourceIPv4Address", kind: sflowIPv4At},
		{name: name + "DestinationIPv4Address", kind: sflowIPv4At}, {name: name + "SourcePort"}, {name: name + "DestinationPort"},
		{name: name + "TcpFlags"}, {name: name + "Tos"},
	}
}

func sampledIPv6(name string) []sflowField {
	return []sflowField{
		{name: name + "Length"}, {name: name + "Protocol"}, {name: name + "SourceIPv6Address", kind: sflowIPv6At},
		{name: name + "DestinationIPv6Address", kind: sflowIPv6At}, {name: name + "SourcePort"}, {name: name + "DestinationPort"},
		{name: name + "TcpFlags"}, {name: name + "Priority"},
	}
}

// sflowRecord is a record as it came.
type sflowRecord struct {
	format uint32
	body   []byte
}

// isRead reports whether flowSample.read takes something from records of the format.
func isRead(format uint32) bool {
	switch format {
	case sflowRawHeader, sflowEthernet, sflowIPv4, sflowIPv6, sflowExtendedSwitch, sflowExtendedRouter, sflowExtendedGate:
		return true
	}
	return false
}

// visitExtended shows the records that read had nothing to take from: those of a known
// layout field by field, all others as octets.
func (m *message) visitExtended(s *flowSample) {
	for _, x := range s.others {
		if fields := extendedRecords[x.format]; fields != nil {
			m.structure(x, fields)
		} else {
			m.unknownRecord("flow", x)
		}
	}
}

// unknownRecord shows a record as octets, named by enterprise and format.
func (m *message) unknownRecord(kind string, x sflowRecord) {
	name := kind + strconv.Itoa(int(x.format>>12)) + "/" + strconv.Itoa(int(x.format&0xfff))
	m.data.Fields = append(m.data.Fields, Field{Name: name, Value: Value{Raw: x.body}})
}

// structure shows the fields of a record as far as it goes. Later versions of a structure
// may have more behind them, earlier ones may lack the last; one that ends within a field
// is reported.
func (m *message) structure(x sflowRecord, fields []sflowField) {
	r := reader{b: x.body}
	for i := range fields {
		if len(r.b) == 0 && i > 0 {
			return
		}
		f := &fields[i]
		name, v := f.name, Value{Type: Unsigned64}
		switch f.kind {
		case sflowNumber:
			v.Raw = r.bytes(4)
		case sflowNumber8:
			v.Raw = r.bytes(8)
		case sflowFloat:
			v.Type, v.Raw = Float32, r.bytes(4)
		case sflowText:
			v.Type, v.Raw = String, r.sized()
		case sflowMAC:
			v.Type, v.Raw = MACAddress, r.bytes(8)
			v.Raw = v.Raw[:min(6, len(v.Raw))]
		case sflowIPv4At:
			v.Type, v.Raw = IPv4Address, r.bytes(4)
		case sflowIPv6At:
			v.Type, v.Raw = IPv6Address, r.bytes(16)
		case sflowOctets4:
			v.Type, v.Raw = OctetArray, r.bytes(4)
		case sflowOctets16:
			v.Type, v.Raw = OctetArray, r.bytes(16)
		case sflowAnyIP:
			v.Type, v.Raw = IPv4Address, sflowAddress(&r)
			if len(v.Raw) == 16 {
				name, v.Type = f.then, IPv6Address
			} else if v.Raw == nil && r.err == nil {
				continue // of no family: not known
			}
		case sflowLabels:
			v.List = r.list(func(v uint32) uint64 { return uint64(v >> 12) }) // RFC 3032: a label has 20 bits
		case sflowVlans:
			v.List = r.list(func(v uint32) uint64 { return uint64(v & 0xfff) }) // TPID and TCI
		}
		if r.err != nil {
			m.fail(fmt.Errorf("record of format %d: %w", x.format, r.err))
			return
		}
		m.data.Fields = append(m.data.Fields, Field{Name: name, Value: v})
	}
}

// list reads a count and so many numbers, of each of which one is made.
func (r *reader) list(one func(uint32) uint64) *List {
	n := int(r.uint32())
	if n > len(r.b)/4 {
		r.short(n * 4)
		return nil
	}
	l := &List{Semantic: 4}
	for b := r.bytes(n * 4); len(b) > 0; b = b[4:] {
		l.Values = append(l.Values, number(one(binary.BigEndian.Uint32(b))))
	}
	return l
}
