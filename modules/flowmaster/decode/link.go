package decode

import (
	"encoding/binary"
	"net/netip"
)

// Link-layer types (https://www.tcpdump.org/linktypes.html).
const (
	linkNull     = 0
	linkEthernet = 1
	linkRawBSD   = 12
	linkRawOpen  = 14
	linkRaw      = 101
	linkLoop     = 108
	linkSLL      = 113
	linkIPv4     = 228
	linkIPv6     = 229
	linkSLL2     = 276
)

// parseLink finds the headers of a captured packet. It returns false for link
// layers that are not known.
func (h *packetHeader) parseLink(link uint32, b []byte) bool {
	switch link {
	case linkEthernet:
		h.parseEthernet(b)
	case linkNull, linkLoop:
		h.parseIP(b, 4) // behind an address family, whose values differ by system
	case linkRaw, linkRawBSD, linkRawOpen, linkIPv4, linkIPv6:
		h.parseIP(b, 0)
	case linkSLL:
		if len(b) >= 16 {
			h.parseEtherType(binary.BigEndian.Uint16(b[14:]), b, 16)
		}
	case linkSLL2:
		if len(b) >= 20 {
			h.parseEtherType(binary.BigEndian.Uint16(b), b, 20)
		}
	default:
		return false
	}
	return true
}

const udpHeader = 8

// datagram takes the UDP datagram out of a captured packet. ok is false, and
// the reason counted, if there is none.
func (f *FileReader) datagram(link uint32, b []byte) (d Datagram, ok bool) {
	var h packetHeader
	if !h.parseLink(link, b) || h.ipVersion == 0 {
		f.skipped.NotUDP++
		return d, false
	}
	if h.fragment || h.moreFragments {
		f.skipped.Fragments++
		return d, false
	}
	if h.protocol != protocolUDP || len(h.transport) < udpHeader {
		f.skipped.NotUDP++
		return d, false
	}
	n := int(binary.BigEndian.Uint16(h.transport[4:]))
	if n < udpHeader {
		f.skipped.NotUDP++
		return d, false
	}
	if n > len(h.transport) {
		f.skipped.Truncated++
		return d, false
	}
	source, _ := netip.AddrFromSlice(h.sourceAddress)
	destination, _ := netip.AddrFromSlice(h.destinationAddress)
	return Datagram{
		Source:      netip.AddrPortFrom(source, binary.BigEndian.Uint16(h.transport)),
		Destination: netip.AddrPortFrom(destination, binary.BigEndian.Uint16(h.transport[2:])),
		Payload:     h.transport[udpHeader:n],
	}, true
}
