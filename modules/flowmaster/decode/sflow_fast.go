package decode

import (
	"encoding/binary"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// sflowPlain decodes the flow samples that nearly all are: the header of one Ethernet
// frame, perhaps with a VLAN, that holds a TCP or UDP packet in IPv4 or IPv6 without
// options, and perhaps the switch's VLANs beside it. It writes the record at once, where
// sflowFlow first takes the sample apart, and makes the same record.
//
// It returns false, and has done nothing, for every other sample, and for one that is
// damaged.
func (m *message) sflowPlain(format uint32, b []byte) (done bool, err error) {
	var sampler, rate, drops, input, output, records uint32
	switch {
	case format == sflowFlowSample && len(b) >= 32:
		sampler, rate, drops = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[16:])
		input, output = packedInterface(binary.BigEndian.Uint32(b[20:])), packedInterface(binary.BigEndian.Uint32(b[24:]))
		records, b = binary.BigEndian.Uint32(b[28:]), b[32:]
	case format == sflowExpandedFlowSample && len(b) >= 44:
		sampler = binary.BigEndian.Uint32(b[4:])<<24 ^ binary.BigEndian.Uint32(b[8:])
		rate, drops = binary.BigEndian.Uint32(b[12:]), binary.BigEndian.Uint32(b[20:])
		if binary.BigEndian.Uint32(b[24:]) == 0 {
			input = binary.BigEndian.Uint32(b[28:])
		}
		if binary.BigEndian.Uint32(b[32:]) == 0 {
			output = binary.BigEndian.Uint32(b[36:])
		}
		records, b = binary.BigEndian.Uint32(b[40:]), b[44:]
	default:
		return false, nil
	}
	var frame []byte
	var vlan uint16
	for ; records > 0; records-- {
		format, body, rest, ok := sflowPart(b)
		if !ok {
			return false, nil
		}
		b = rest
		switch {
		case format == sflowRawHeader && frame == nil && len(body) > 16 && binary.BigEndian.Uint32(body) == sflowHeaderEthernet:
			n := binary.BigEndian.Uint32(body[12:])
			if uint64(n) > uint64(len(body)-16) {
				return false, nil
			}
			frame = body[16 : 16+n]
		case format == sflowExtendedSwitch && len(body) >= 12:
			vlan = uint16(binary.BigEndian.Uint32(body))
		default:
			return false, nil
		}
	}
	if len(frame) < 18 {
		return false, nil
	}
	etherType, ip := binary.BigEndian.Uint16(frame[12:]), frame[14:]
	if etherType == etherTypeVlan {
		vlan, etherType, ip = binary.BigEndian.Uint16(frame[14:])&0x0fff, binary.BigEndian.Uint16(frame[16:]), frame[18:]
	}
	var transport []byte
	var protocol uint8
	switch {
	case etherType == etherTypeIPv4 && len(ip) >= 24 && ip[0] == 4<<4|5:
		if binary.BigEndian.Uint16(ip[6:])&0x1fff != 0 || binary.BigEndian.Uint16(ip[2:]) == 0 {
			return false, nil // a later fragment, or a length that is to be guessed
		}
		protocol, transport = ip[9], ip[20:]
	case etherType == etherTypeIPv6 && len(ip) >= 48 && ip[0]>>4 == 6:
		if binary.BigEndian.Uint16(ip[4:]) == 0 {
			return false, nil
		}
		protocol, transport = ip[6], ip[40:]
	default:
		return false, nil
	}
	if protocol != protocolUDP && (protocol != protocolTCP || len(transport) < 14) {
		return false, nil
	}
	m.agentDrops(sampler, drops)
	if err := m.countRecord(&m.result.Records); err != nil {
		return true, err
	}
	m.out = append(m.out, m.base)
	r := &m.out[len(m.out)-1]
	if etherType == etherTypeIPv4 {
		r.SourceAddress = flow.AddrFrom4(binary.BigEndian.Uint32(ip[12:]))
		r.DestinationAddress = flow.AddrFrom4(binary.BigEndian.Uint32(ip[16:]))
		r.OctetDeltaCount, r.IPClassOfService = uint64(binary.BigEndian.Uint16(ip[2:])), ip[1]
	} else {
		r.SourceAddress = flow.AddrFrom16(binary.BigEndian.Uint64(ip[8:]), binary.BigEndian.Uint64(ip[16:]))
		r.DestinationAddress = flow.AddrFrom16(binary.BigEndian.Uint64(ip[24:]), binary.BigEndian.Uint64(ip[32:]))
		r.OctetDeltaCount, r.IPClassOfService = uint64(binary.BigEndian.Uint16(ip[4:]))+40, ip[0]<<4|ip[1]>>4
	}
	r.PacketDeltaCount = 1
	r.FlowStartMilliseconds, r.FlowEndMilliseconds = m.received, m.received
	r.ProtocolIdentifier = protocol
	r.SourceTransportPort, r.DestinationTransportPort = binary.BigEndian.Uint16(transport), binary.BigEndian.Uint16(transport[2:])
	if protocol == protocolTCP {
		r.TCPControlBits = binary.BigEndian.Uint16(transport[12:]) & 0x0fff
	}
	r.IngressInterface, r.EgressInterface, r.VlanID = input, output, vlan
	if m.override == 0 {
		setSampling(r, rate)
	}
	return true, nil
}

// sflowPart takes a format and what it has from the beginning of b. ok is false where b
// ends before, or before the padding.
func sflowPart(b []byte) (format uint32, body, rest []byte, ok bool) {
	if len(b) < 8 {
		return 0, nil, nil, false
	}
	n := uint64(binary.BigEndian.Uint32(b[4:]))
	end := 8 + (n+3)&^3
	if end > uint64(len(b)) {
		return 0, nil, nil, false
	}
	return binary.BigEndian.Uint32(b), b[8 : 8+n], b[end:], true
}
