package flow

import (
	"cmp"
	"encoding/binary"
	"net/netip"
)

// Addr is an IP address in 16 bytes without pointers, so that records stay
// plain memory: IPv4 is held in its IPv4-mapped form (RFC 4291 §2.5.5.2). The
// zero Addr means "not reported"; the unspecified IPv6 address is the same
// value, 0.0.0.0 is not.
type Addr struct {
	hi, lo uint64
}

const mappedPrefix = 0xffff << 32

// AddrFrom4 returns the Addr of an IPv4 address in host byte order:
// 192.0.2.1 is 0xc0000201.
func AddrFrom4(v uint32) Addr { return Addr{lo: mappedPrefix | uint64(v)} }

// AddrFrom16 returns the Addr of an IPv6 address given as its upper and lower
// 64 bits in host byte order.
func AddrFrom16(hi, lo uint64) Addr { return Addr{hi: hi, lo: lo} }

// AddrFrom returns the Addr of ip without its zone. An invalid ip gives the
// zero Addr.
func AddrFrom(ip netip.Addr) Addr {
	if !ip.IsValid() {
		return Addr{}
	}
	b := ip.As16()
	return Addr{hi: binary.BigEndian.Uint64(b[:8]), lo: binary.BigEndian.Uint64(b[8:])}
}

// IsZero reports whether no address was reported.
func (a Addr) IsZero() bool { return a == Addr{} }

// Is4 reports whether a is an IPv4 address.
func (a Addr) Is4() bool { return a.hi == 0 && a.lo>>32 == 0xffff }

// Netip returns a as a netip.Addr: an IPv4 address as such, the zero Addr as
// the invalid netip.Addr.
func (a Addr) Netip() netip.Addr {
	if a.IsZero() {
		return netip.Addr{}
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	return netip.AddrFrom16(b).Unmap()
}

// As16 returns the 16 bytes of a in network order.
func (a Addr) As16() (b [16]byte) {
	binary.BigEndian.PutUint64(b[:8], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	return b
}

// V4 returns the IPv4 address in host byte order; it is meaningful only when
// Is4 is true.
func (a Addr) V4() uint32 { return uint32(a.lo) }

// String returns the usual text form, or "" for the zero Addr.
func (a Addr) String() string {
	if a.IsZero() {
		return ""
	}
	return a.Netip().String()
}

// Masked keeps the first bits4 bits of an IPv4 address, or the first bits6 of
// an IPv6 one, and clears the rest. Values past 32 and 128 keep everything.
func (a Addr) Masked(bits4, bits6 uint8) Addr {
	if a.IsZero() {
		return a
	}
	if a.Is4() {
		if bits4 >= 32 {
			return a
		}
		return AddrFrom4(a.V4() &^ (^uint32(0) >> bits4))
	}
	switch {
	case bits6 >= 128:
		return a
	case bits6 >= 64:
		return Addr{hi: a.hi, lo: a.lo &^ (^uint64(0) >> (bits6 - 64))}
	default:
		return Addr{hi: a.hi &^ (^uint64(0) >> bits6)}
	}
}

// Compare returns -1, 0 or 1 as a stands before b, is b, or stands behind it in the order of
// numbers, IPv4 in its mapped form.
func (a Addr) Compare(b Addr) int {
	if c := cmp.Compare(a.hi, b.hi); c != 0 {
		return c
	}
	return cmp.Compare(a.lo, b.lo)
}

func (a Addr) less(b Addr) bool {
	return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo
}
