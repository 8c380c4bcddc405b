package decode

import (
	"encoding/binary"
	"net/netip"
)

// Link-layer types (https://www.tcpdump.org/linktypes.html).
const (
	linkNull     = 0
	linkEthernet = 1
	linkPPP      = 9
	linkRawBSD   = 12
	linkRawOpen  = 14
	linkPPPHDLC  = 50
	linkRaw      = 101
	linkCHDLC    = 104
	linkLoop     = 108
	linkSLL      = 113
	linkIPv4     = 228
	linkIPv6     = 229
	linkSLL2     = 276
)

// PPP's protocol numbers.
const (
	pppIPv4 = 0x21
	pppIPv6 = 0x57
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
	case linkPPP, linkPPPHDLC:
		at := 0
		if len(b) >= 2 && b[0] == 0xff { // address and control, which may be left out
			at = 2
		}
		if len(b) > at && b[at] == 0 { // the protocol's first octet may be left out too
			at++
		}
		if len(b) > at && (b[at] == pppIPv4 || b[at] == pppIPv6) {
			h.parseIP(b, at+1)
		}
	case linkCHDLC:
		if len(b) >= 4 {
			h.parseEtherType(binary.BigEndian.Uint16(b[2:]), b, 4)
		}
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
	if !h.parseLink(link, b) {
		f.skipped.UnknownLink++
		return d, false
	}
	if h.ipVersion == 0 {
		f.skipped.NotUDP++
		return d, false
	}
	transport, protocol := h.transport, h.protocol
	if h.fragment || h.moreFragments {
		if transport, protocol = f.fragments.add(&h, b); transport == nil {
			return d, false
		}
	}
	if protocol != protocolUDP {
		f.skipped.NotUDP++
		return d, false
	}
	if len(transport) < udpHeader {
		f.skipped.Truncated++
		return d, false
	}
	n := int(binary.BigEndian.Uint16(transport[4:]))
	if n < udpHeader {
		f.skipped.NotUDP++
		return d, false
	}
	if n > len(transport) {
		f.skipped.Truncated++
		return d, false
	}
	source, _ := netip.AddrFromSlice(h.sourceAddress)
	destination, _ := netip.AddrFromSlice(h.destinationAddress)
	return Datagram{
		Source:      netip.AddrPortFrom(source, binary.BigEndian.Uint16(transport)),
		Destination: netip.AddrPortFrom(destination, binary.BigEndian.Uint16(transport[2:])),
		Payload:     transport[udpHeader:n],
	}, true
}
