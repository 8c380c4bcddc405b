package decode

import (
	"encoding/binary"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// IP protocol numbers that matter here.
const (
	protocolICMP  = 1
	protocolTCP   = 6
	protocolUDP   = 17
	protocolICMP6 = 58
	protocolSCTP  = 132
)

// packetHeader is what the beginning of a sampled packet says. Slices point
// into the sample and are nil where the sample ends before.
type packetHeader struct {
	destinationMAC, sourceMAC []byte
	etherType                 uint16
	vlan                      uint16
	hasEthernet, hasVlan      bool

	ipVersion                          uint8 // 0 when no IP header was found
	sourceAddress, destinationAddress  []byte
	protocol, trafficClass, timeToLive uint8
	fragment                           bool // not the first of a packet
	moreFragments                      bool
	// ipOctets is the length of the IP packet; 0 when its header does not say
	// (segmentation offload leaves 0 there).
	ipOctets int
	ipOffset int // where the IP header begins

	transport                   []byte // from the transport header on
	sourcePort, destinationPort []byte
	tcpFlags                    []byte
	icmp                        []byte
}

// How deep a packet may be wrapped before it is given up.
const (
	maxVlanTags         = 4
	maxMPLSLabels       = 16
	maxExtensionHeaders = 8
)

const (
	etherTypeIPv4   = 0x0800
	etherTypeIPv6   = 0x86dd
	etherTypeVlan   = 0x8100
	etherTypeQinQ   = 0x88a8
	etherTypeQinQ91 = 0x9100
	etherTypeMPLS   = 0x8847
	etherTypeMPLSM  = 0x8848
	etherTypePPPoE  = 0x8864
)

// parseEthernet reads an Ethernet frame, as far as the sample goes.
func (h *packetHeader) parseEthernet(b []byte) {
	if len(b) < 14 {
		return
	}
	h.hasEthernet = true
	h.destinationMAC, h.sourceMAC = b[0:6], b[6:12]
	h.parseEtherType(binary.BigEndian.Uint16(b[12:]), b, 14)
}

func (h *packetHeader) parseEtherType(etherType uint16, b []byte, at int) {
	for range maxVlanTags {
		if etherType != etherTypeVlan && etherType != etherTypeQinQ && etherType != etherTypeQinQ91 {
			break
		}
		if len(b) < at+4 {
			return
		}
		if !h.hasVlan {
			h.hasVlan = true
			h.vlan = binary.BigEndian.Uint16(b[at:]) & 0x0fff
		}
		etherType = binary.BigEndian.Uint16(b[at+2:])
		at += 4
	}
	h.etherType = etherType
	switch etherType {
	case etherTypeIPv4, etherTypeIPv6:
		h.parseIP(b, at)
	case etherTypeMPLS, etherTypeMPLSM:
		h.parseMPLS(b, at)
	case etherTypePPPoE:
		if len(b) >= at+8 {
			h.parseIP(b, at+8) // PPP's protocol says no more than the IP version
		}
	}
}

func (h *packetHeader) parseMPLS(b []byte, at int) {
	for range maxMPLSLabels {
		if len(b) < at+4 {
			return
		}
		bottom := b[at+2]&1 != 0
		at += 4
		if bottom {
			h.parseIP(b, at)
			return
		}
	}
}

// parseIP reads an IP header, of whichever version it says it is.
func (h *packetHeader) parseIP(b []byte, at int) {
	if len(b) <= at {
		return
	}
	switch ip := b[at:]; ip[0] >> 4 {
	case 4:
		if len(ip) < 20 {
			return
		}
		h.ipVersion, h.ipOffset = 4, at
		h.trafficClass, h.timeToLive, h.protocol = ip[1], ip[8], ip[9]
		h.ipOctets = int(binary.BigEndian.Uint16(ip[2:]))
		h.sourceAddress, h.destinationAddress = ip[12:16], ip[16:20]
		h.fragment = binary.BigEndian.Uint16(ip[6:])&0x1fff != 0
		h.moreFragments = ip[6]&0x20 != 0
		if n := int(ip[0]&15) * 4; n >= 20 && n <= len(ip) && !h.fragment {
			h.parseTransport(ip[n:])
		}
	case 6:
		if len(ip) < 40 {
			return
		}
		h.ipVersion, h.ipOffset = 6, at
		h.trafficClass, h.timeToLive, h.protocol = ip[0]<<4|ip[1]>>4, ip[7], ip[6]
		if n := int(binary.BigEndian.Uint16(ip[4:])); n > 0 {
			h.ipOctets = n + 40
		}
		h.sourceAddress, h.destinationAddress = ip[8:24], ip[24:40]
		h.parseExtensions(ip[40:])
	}
}

// parseExtensions skips the extension headers of IPv6 (RFC 8200 §4).
func (h *packetHeader) parseExtensions(b []byte) {
	for range maxExtensionHeaders {
		if len(b) < 8 {
			break
		}
		n := 8 + int(b[1])*8
		switch h.protocol {
		case 0, 43, 60, 135: // hop-by-hop, routing, destination options, mobility
		case 44: // fragment
			h.fragment = h.fragment || binary.BigEndian.Uint16(b[2:])>>3 != 0
			h.moreFragments = h.moreFragments || b[3]&1 != 0
			n = 8
		case 51: // authentication
			n = 8 + int(b[1])*4
		default:
			if !h.fragment {
				h.parseTransport(b)
			}
			return
		}
		h.protocol = b[0]
		if n > len(b) {
			return
		}
		b = b[n:]
	}
	if !h.fragment {
		h.parseTransport(b)
	}
}

func (h *packetHeader) parseTransport(b []byte) {
	h.transport = b
	switch h.protocol {
	case protocolTCP, protocolUDP, protocolSCTP:
		if len(b) >= 4 {
			h.sourcePort, h.destinationPort = b[0:2], b[2:4]
		}
		if h.protocol == protocolTCP && len(b) >= 14 {
			h.tcpFlags = b[12:14]
		}
	case protocolICMP, protocolICMP6:
		if len(b) >= 2 {
			h.icmp = b[0:2]
		}
	}
}

// fill puts what is known into a flow record of one packet.
func (h *packetHeader) fill(r *flow.Record) {
	switch h.ipVersion {
	case 4:
		r.SourceAddress = flow.AddrFrom4(binary.BigEndian.Uint32(h.sourceAddress))
		r.DestinationAddress = flow.AddrFrom4(binary.BigEndian.Uint32(h.destinationAddress))
	case 6:
		r.SourceAddress = flow.AddrFrom16(binary.BigEndian.Uint64(h.sourceAddress), binary.BigEndian.Uint64(h.sourceAddress[8:]))
		r.DestinationAddress = flow.AddrFrom16(binary.BigEndian.Uint64(h.destinationAddress), binary.BigEndian.Uint64(h.destinationAddress[8:]))
	}
	r.ProtocolIdentifier, r.IPClassOfService = h.protocol, h.trafficClass
	if h.hasVlan {
		r.VlanID = h.vlan
	}
	if h.sourcePort != nil {
		r.SourceTransportPort = binary.BigEndian.Uint16(h.sourcePort)
		r.DestinationTransportPort = binary.BigEndian.Uint16(h.destinationPort)
	}
	if h.tcpFlags != nil {
		r.TCPControlBits = binary.BigEndian.Uint16(h.tcpFlags) & 0x0fff
	}
	if h.icmp != nil {
		r.ICMPTypeCode = binary.BigEndian.Uint16(h.icmp)
	}
}

// octets is the length of the IP packet, as octetDeltaCount counts it, of a
// frame that was frameOctets long.
func (h *packetHeader) octets(frameOctets int) int {
	switch {
	case h.ipVersion == 0:
		return frameOctets
	case h.ipOctets > 0:
		return h.ipOctets
	default:
		return max(frameOctets-h.ipOffset, 0)
	}
}

// frame fills r from the section of a frame that came in a flow record
// (RFC 7133, RFC 5477), and ipHeader from that of a packet.
func (m *message) frame(r *flow.Record, b []byte) {
	var h packetHeader
	h.parseEthernet(b)
	fillSection(r, &h, len(b))
}

func (m *message) ipHeader(r *flow.Record, b []byte) {
	var h packetHeader
	h.parseIP(b, 0)
	fillSection(r, &h, len(b))
}

// fillSection leaves alone what fields of their own may have said.
func fillSection(r *flow.Record, h *packetHeader, octets int) {
	if r.SourceAddress.IsZero() {
		h.fill(r)
	}
	if r.PacketDeltaCount == 0 {
		r.PacketDeltaCount = 1
	}
	if r.OctetDeltaCount == 0 {
		r.OctetDeltaCount = uint64(h.octets(octets))
	}
}
