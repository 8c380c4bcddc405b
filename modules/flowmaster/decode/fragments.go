package decode

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
)

// fragments puts the fragments of IP packets together (RFC 791 §3.2, RFC 8200
// §4.5): templates and long records make datagrams that no link takes whole.
type fragments struct {
	packets map[fragmentKey]*fragmented
	order   []fragmentKey // oldest first
	octets  int
	lost    int // fragments of packets given up
}

// Of how many packets, and how much of them, fragments are held. The oldest
// packet is given up for a new one.
const (
	maxFragmented     = 1024
	maxFragmentOctets = 16 << 20
	maxFragmentParts  = 128
)

type fragmentKey struct {
	source, destination netip.Addr
	id                  uint32
	protocol            uint8
}

type fragmented struct {
	parts  []fragmentPart // by offset; they do not overlap
	octets int            // in them
	total  int            // length of the whole; 0 until the last part is there
	count  int            // of fragments that came
}

type fragmentPart struct {
	at int
	b  []byte
}

// add takes in a fragment, and returns the payload of the packet once all of
// it is there.
func (f *fragments) add(h *packetHeader, packet []byte) (payload []byte, protocol uint8) {
	key, part, more, ok := fragmentOf(h, packet)
	if !ok {
		f.lost++
		return nil, 0
	}
	p := f.packets[key]
	if p == nil {
		p = f.begin(key)
	}
	p.count++
	i, there := slices.BinarySearchFunc(p.parts, part.at, func(q fragmentPart, at int) int { return q.at - at })
	end := part.at + len(part.b)
	switch {
	case there && bytes.Equal(p.parts[i].b, part.b):
		return nil, 0 // captured twice
	case there, len(p.parts) >= maxFragmentParts,
		i > 0 && p.parts[i-1].at+len(p.parts[i-1].b) > part.at,
		i < len(p.parts) && end > p.parts[i].at,
		!more && i < len(p.parts),
		p.total > 0 && (!more || end > p.total):
		f.forget(key, false) // two that overlap: which one to believe? (RFC 5722)
		return nil, 0
	}
	if !more {
		p.total = end
	}
	part.b = bytes.Clone(part.b)
	f.octets += len(part.b)
	p.parts = slices.Insert(p.parts, i, part)
	p.octets += len(part.b)
	if p.total == 0 || p.octets != p.total {
		for f.octets > maxFragmentOctets {
			f.forget(f.order[0], false)
		}
		return nil, 0
	}
	for _, q := range p.parts {
		payload = append(payload, q.b...)
	}
	f.forget(key, true)
	return payload, key.protocol
}

func (f *fragments) begin(key fragmentKey) *fragmented {
	if len(f.packets) >= maxFragmented {
		f.forget(f.order[0], false)
	}
	if f.packets == nil {
		f.packets = make(map[fragmentKey]*fragmented)
	}
	p := &fragmented{}
	f.packets[key] = p
	f.order = append(f.order, key)
	return p
}

func (f *fragments) forget(key fragmentKey, whole bool) {
	p := f.packets[key]
	f.octets -= p.octets
	if !whole {
		f.lost += p.count
	}
	delete(f.packets, key)
	i := slices.Index(f.order, key)
	f.order = slices.Delete(f.order, i, i+1)
}

// missed is how many fragments were of no use so far.
func (f *fragments) missed() int {
	n := f.lost
	for _, p := range f.packets {
		n += p.count
	}
	return n
}

// fragmentOf takes a fragment apart. ok is false where the capture cut it
// short, and where it cannot be one.
func fragmentOf(h *packetHeader, packet []byte) (key fragmentKey, part fragmentPart, more, ok bool) {
	ip := packet[h.ipOffset:]
	if h.ipOctets < 20 || h.ipOctets > len(ip) { // shorter than a header, 0 among them
		return key, part, false, false
	}
	ip = ip[:h.ipOctets] // behind it a frame may be padded
	key.source, _ = netip.AddrFromSlice(h.sourceAddress)
	key.destination, _ = netip.AddrFromSlice(h.destinationAddress)
	var at int
	if h.ipVersion == 4 {
		at = int(ip[0]&15) * 4
		key.id, key.protocol = uint32(binary.BigEndian.Uint16(ip[4:])), ip[9]
		part.at, more = int(binary.BigEndian.Uint16(ip[6:])&0x1fff)*8, ip[6]&0x20 != 0
	} else {
		next := ip[6]
		for at = 40; next != 44; {
			if next != 0 && next != 43 && next != 60 || len(ip) < at+8 {
				return key, part, false, false
			}
			next, at = ip[at], at+8+int(ip[at+1])*8
		}
		if len(ip) < at+8 {
			return key, part, false, false
		}
		b := ip[at:]
		key.id, key.protocol = binary.BigEndian.Uint32(b[4:]), b[0]
		part.at, more = int(binary.BigEndian.Uint16(b[2:])&0xfff8), b[3]&1 != 0
		at += 8
	}
	if at < 20 || at >= len(ip) {
		return key, part, false, false
	}
	part.b = ip[at:]
	ok = part.at+len(part.b) <= maxDatagram && (!more || len(part.b)%8 == 0)
	return key, part, more, ok
}
