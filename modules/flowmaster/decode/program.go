package decode

import (
	"encoding/binary"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// scratch holds what a record says that only makes sense together with
// something else. It is cleared for records whose program has an after part.
type scratch struct {
	init, observed, durationMilliseconds                        int64
	sampler, samplingInterval, samplingSpace, sampled, sampling uint64
	hasSampler, hasUptime                                       bool
	icmpType, icmpCode                                          uint8
}

// runFixed fills r from a record of fixed length. b is at least as long as
// the template says, so that the offsets, which add up to it, are inside.
func (p *program) runFixed(r *flow.Record, b []byte, m *message) {
	for i := range p.ops {
		o := &p.ops[i]
		v := b[o.at:]
		switch o.code {
		case opSource4:
			r.SourceAddress = flow.AddrFrom4(binary.BigEndian.Uint32(v))
		case opDestination4:
			r.DestinationAddress = flow.AddrFrom4(binary.BigEndian.Uint32(v))
		case opSource6:
			r.SourceAddress = flow.AddrFrom16(binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:]))
		case opDestination6:
			r.DestinationAddress = flow.AddrFrom16(binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:]))
		case opOctets4:
			r.OctetDeltaCount = uint64(binary.BigEndian.Uint32(v))
		case opOctets8:
			r.OctetDeltaCount = binary.BigEndian.Uint64(v)
		case opPackets4:
			r.PacketDeltaCount = uint64(binary.BigEndian.Uint32(v))
		case opPackets8:
			r.PacketDeltaCount = binary.BigEndian.Uint64(v)
		case opProtocol1:
			r.ProtocolIdentifier = v[0]
		case opClassOfService1:
			r.IPClassOfService = v[0]
		case opTCPFlags1:
			r.TCPControlBits |= uint16(v[0])
		case opTCPFlags2:
			r.TCPControlBits |= binary.BigEndian.Uint16(v)
		case opSourcePort2:
			r.SourceTransportPort = binary.BigEndian.Uint16(v)
		case opDestinationPort2:
			r.DestinationTransportPort = binary.BigEndian.Uint16(v)
		case opIngress2:
			r.IngressInterface = uint32(binary.BigEndian.Uint16(v))
		case opIngress4:
			r.IngressInterface = binary.BigEndian.Uint32(v)
		case opEgress2:
			r.EgressInterface = uint32(binary.BigEndian.Uint16(v))
		case opEgress4:
			r.EgressInterface = binary.BigEndian.Uint32(v)
		case opSourceAS4:
			r.SourceAS = binary.BigEndian.Uint32(v)
		case opDestinationAS4:
			r.DestinationAS = binary.BigEndian.Uint32(v)
		case opSourceLength1:
			r.SourcePrefixLength = v[0]
		case opDestinationLength1:
			r.DestinationPrefixLength = v[0]
		case opVlan2:
			r.VlanID = binary.BigEndian.Uint16(v)
		case opDirection1:
			r.FlowDirection = direction(uint64(v[0]))
		case opEndReason1:
			r.FlowEndReason = flow.EndReason(v[0])
		case opStartUptime4:
			r.FlowStartMilliseconds = m.fromUptime(binary.BigEndian.Uint32(v))
		case opEndUptime4:
			r.FlowEndMilliseconds = m.fromUptime(binary.BigEndian.Uint32(v))
		case opStartMilliseconds8:
			r.FlowStartMilliseconds = milliseconds(binary.BigEndian.Uint64(v))
		case opEndMilliseconds8:
			r.FlowEndMilliseconds = milliseconds(binary.BigEndian.Uint64(v))
		default:
			m.apply(o.code, v[:o.length], r)
		}
	}
}

// runVariable fills r from a record with fields of variable length. b is one
// whole record, as template.next cut it.
func (p *program) runVariable(r *flow.Record, b []byte, m *message) {
	n := 0
	for i := range p.ops {
		o := &p.ops[i]
		start, end, err := fieldSpan(b, n, o.length)
		if err != nil {
			return
		}
		n = end
		if o.code != opSkip {
			m.apply(o.code, b[start:end], r)
		}
	}
}

// apply moves one field of any length into r. Fields of a length that their
// place cannot take leave r as it is.
func (m *message) apply(code opcode, v []byte, r *flow.Record) {
	switch code {
	case opFrame:
		m.frame(r, v)
		return
	case opIPHeader:
		m.ipHeader(r, v)
		return
	case opSource6, opDestination6, opSource6IfSet, opDestination6IfSet:
		if len(v) == 16 {
			setAddr(r, code, flow.AddrFrom16(binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:])))
		}
		return
	case opSource4, opDestination4, opSource4IfSet, opDestination4IfSet:
		if len(v) == 4 {
			setAddr(r, code, flow.AddrFrom4(binary.BigEndian.Uint32(v)))
		}
		return
	}
	if len(v) == 0 || len(v) > 8 {
		return
	}
	n := beUint(v)
	if m.applyTime(code, n, r) {
		return
	}
	s := &m.scratch
	switch code {
	case opOctets, opOctets4, opOctets8:
		r.OctetDeltaCount = n
	case opPackets, opPackets4, opPackets8:
		r.PacketDeltaCount = n
	case opReverseOctets:
		r.ReverseOctetDeltaCount = n
	case opReversePackets:
		r.ReversePacketDeltaCount = n
	case opProtocol, opProtocol1:
		r.ProtocolIdentifier = uint8(n)
	case opClassOfService, opClassOfService1:
		r.IPClassOfService = uint8(n)
	case opTCPFlags, opTCPFlags1, opTCPFlags2:
		r.TCPControlBits |= uint16(n)
	case opReverseTCPFlags:
		r.ReverseTCPControlBits |= uint16(n)
	case opSourcePort, opSourcePort2:
		r.SourceTransportPort = uint16(n)
	case opDestinationPort, opDestinationPort2:
		r.DestinationTransportPort = uint16(n)
	case opICMP:
		r.ICMPTypeCode = uint16(n)
	case opICMPType:
		s.icmpType = uint8(n)
	case opICMPCode:
		s.icmpCode = uint8(n)
	case opSourceLength, opSourceLength1:
		r.SourcePrefixLength = uint8(n)
	case opDestinationLength, opDestinationLength1:
		r.DestinationPrefixLength = uint8(n)
	case opIngress, opIngress2, opIngress4:
		r.IngressInterface = uint32(n)
	case opEgress, opEgress2, opEgress4:
		r.EgressInterface = uint32(n)
	case opSourceAS, opSourceAS4:
		r.SourceAS = uint32(n)
	case opDestinationAS, opDestinationAS4:
		r.DestinationAS = uint32(n)
	case opVlan, opVlan2:
		r.VlanID = uint16(n)
	case opDirection, opDirection1:
		r.FlowDirection = direction(n)
	case opEndReason, opEndReason1:
		r.FlowEndReason = flow.EndReason(n)
	case opBiflowDirection:
		r.BiflowDirection = flow.BiflowDirection(n)
	case opSampler:
		s.sampler, s.hasSampler = n, true
	case opSamplingInterval:
		s.samplingInterval = n
	case opSamplingSpace:
		s.samplingSpace = n
	case opSamplingSize:
		s.sampled = n
	case opSamplingPopulation:
		s.sampling = n
	}
}

func setAddr(r *flow.Record, code opcode, a flow.Addr) {
	unset := a.IsZero() || a == flow.AddrFrom4(0)
	switch code {
	case opSource4IfSet, opSource6IfSet:
		if unset && !r.SourceAddress.IsZero() {
			return
		}
		r.SourceAddress = a
	case opDestination4IfSet, opDestination6IfSet:
		if unset && !r.DestinationAddress.IsZero() {
			return
		}
		r.DestinationAddress = a
	case opSource4, opSource6:
		r.SourceAddress = a
	default:
		r.DestinationAddress = a
	}
}

func direction(n uint64) flow.Direction {
	switch n {
	case 0:
		return flow.DirectionIngress
	case 1:
		return flow.DirectionEgress
	}
	return flow.DirectionUnknown
}
