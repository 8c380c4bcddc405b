package decode

import (
	"encoding/binary"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// The Encoder's templates, one for each address family, with and without the
// other direction.
const (
	templateIPv4 = setFirstData + iota
	templateIPv6
	templateIPv4Both
	templateIPv6Both
)

// commonFields follow the addresses in every template, in the order in which
// appendRecord writes them.
var commonFields = [...]templateField{
	{id: 7, length: 2}, {id: 11, length: 2}, // ports
	{id: 4, length: 1}, {id: 5, length: 1}, // protocol, class of service
	{id: 6, length: 2}, {id: 32, length: 2}, // TCP flags, ICMP type and code
	{id: 10, length: 4}, {id: 14, length: 4}, // interfaces
	{id: 16, length: 4}, {id: 17, length: 4}, // autonomous systems
	{id: 9, length: 1}, {id: 13, length: 1}, // prefix lengths
	{id: 58, length: 2}, {id: 136, length: 1}, // VLAN, end reason
	{id: 239, length: 1}, {id: 34, length: 4}, // biflow direction, sampling interval
	{id: 405, length: 4},                       // original observation domain
	{id: 152, length: 8}, {id: 153, length: 8}, // start, end
	{id: 1, length: 8}, {id: 2, length: 8}, // octets, packets
}

// reverseFields follow those in the templates for both directions.
var reverseFields = [...]templateField{
	{enterprise: penReverse, id: 1, length: 8},
	{enterprise: penReverse, id: 2, length: 8},
	{enterprise: penReverse, id: 6, length: 2},
}

// encodedTemplates is the template set, the same in every message.
var encodedTemplates = encodeTemplates()

// encodedLength is the length of a record of each template.
var encodedLength = [...]int{
	recordLength(false, false), recordLength(true, false), recordLength(false, true), recordLength(true, true),
}

func encodedFields(ipv6, both bool) []templateField {
	addresses := []templateField{{id: 8, length: 4}, {id: 12, length: 4}}
	if ipv6 {
		addresses = []templateField{{id: 27, length: 16}, {id: 28, length: 16}}
	}
	fields := append(addresses, commonFields[:]...)
	if ipv6 {
		for i := range fields { // prefix lengths have elements of their own
			switch fields[i].id {
			case 9:
				fields[i].id = 29
			case 13:
				fields[i].id = 30
			case 32:
				fields[i].id = 139
			}
		}
	}
	if both {
		fields = append(fields, reverseFields[:]...)
	}
	return fields
}

func recordLength(ipv6, both bool) (n int) {
	for _, f := range encodedFields(ipv6, both) {
		n += int(f.length)
	}
	return n
}

func encodeTemplates() []byte {
	b := make([]byte, setHeader)
	for i := range 4 {
		fields := encodedFields(i&1 != 0, i&2 != 0)
		b = binary.BigEndian.AppendUint16(b, uint16(templateIPv4+i))
		b = binary.BigEndian.AppendUint16(b, uint16(len(fields)))
		for _, f := range fields {
			id := f.id
			if f.enterprise != penIANA {
				id |= 0x8000
			}
			b = binary.BigEndian.AppendUint16(b, id)
			b = binary.BigEndian.AppendUint16(b, f.length)
			if f.enterprise != penIANA {
				b = binary.BigEndian.AppendUint32(b, f.enterprise)
			}
		}
	}
	binary.BigEndian.PutUint16(b, setTemplate10)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

// setWriter writes data sets until the message is full.
type setWriter struct {
	b       []byte
	end     int // how long b may get
	id      int // of the open set, 0 if none is
	start   int // where the open set begins
	records int
}

// record writes r, opening another set if r has another template than the
// record before. It returns false if there is no room.
func (w *setWriter) record(r *flow.Record, uniflow bool) bool {
	both := !uniflow && hasReverse(r)
	id := templateIPv4
	if !r.SourceAddress.Is4() || !r.DestinationAddress.Is4() {
		id = templateIPv6
	}
	if both {
		id += templateIPv4Both - templateIPv4
	}
	need := encodedLength[id-templateIPv4]
	if id != w.id {
		need += setHeader
	}
	if len(w.b)+need > w.end {
		return false
	}
	if id != w.id {
		w.close()
		w.id, w.start = id, len(w.b)
		w.b = binary.BigEndian.AppendUint16(w.b, uint16(id))
		w.b = append(w.b, 0, 0)
	}
	w.b = appendRecord(w.b, r, id == templateIPv6 || id == templateIPv6Both, both)
	w.records++
	return true
}

// close writes the length of the open set.
func (w *setWriter) close() {
	if w.id != 0 {
		binary.BigEndian.PutUint16(w.b[w.start+2:], uint16(len(w.b)-w.start))
		w.id = 0
	}
}

func appendRecord(b []byte, r *flow.Record, ipv6, both bool) []byte {
	if ipv6 {
		source, destination := r.SourceAddress.As16(), r.DestinationAddress.As16()
		b = append(append(b, source[:]...), destination[:]...)
	} else {
		b = binary.BigEndian.AppendUint32(b, r.SourceAddress.V4())
		b = binary.BigEndian.AppendUint32(b, r.DestinationAddress.V4())
	}
	b = binary.BigEndian.AppendUint16(b, r.SourceTransportPort)
	b = binary.BigEndian.AppendUint16(b, r.DestinationTransportPort)
	b = append(b, r.ProtocolIdentifier, r.IPClassOfService)
	b = binary.BigEndian.AppendUint16(b, r.TCPControlBits)
	b = binary.BigEndian.AppendUint16(b, r.ICMPTypeCode)
	b = binary.BigEndian.AppendUint32(b, r.IngressInterface)
	b = binary.BigEndian.AppendUint32(b, r.EgressInterface)
	b = binary.BigEndian.AppendUint32(b, r.SourceAS)
	b = binary.BigEndian.AppendUint32(b, r.DestinationAS)
	b = append(b, r.SourcePrefixLength, r.DestinationPrefixLength)
	b = binary.BigEndian.AppendUint16(b, r.VlanID)
	b = append(b, byte(r.FlowEndReason), byte(r.BiflowDirection))
	b = binary.BigEndian.AppendUint32(b, r.SamplingPacketInterval)
	b = binary.BigEndian.AppendUint32(b, r.ObservationDomainID)
	b = binary.BigEndian.AppendUint64(b, uint64(max(r.FlowStartMilliseconds, 0)))
	b = binary.BigEndian.AppendUint64(b, uint64(max(r.FlowEndMilliseconds, 0)))
	b = binary.BigEndian.AppendUint64(b, r.OctetDeltaCount)
	b = binary.BigEndian.AppendUint64(b, r.PacketDeltaCount)
	if both {
		b = binary.BigEndian.AppendUint64(b, r.ReverseOctetDeltaCount)
		b = binary.BigEndian.AppendUint64(b, r.ReversePacketDeltaCount)
		b = binary.BigEndian.AppendUint16(b, r.ReverseTCPControlBits)
	}
	return b
}
