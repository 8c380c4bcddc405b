package decode

import (
	"encoding/binary"
	"math"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"
)

// Value is the value of one field: the octets as they came, and the type that
// says how to read them. The octets belong to the datagram and are gone when
// the callback that received the Value returns.
type Value struct {
	Type Type
	// Raw is the encoded value, without a length prefix. It is nil where the
	// value was not in the datagram by itself (the 1 of a sampled packet) and
	// for lists.
	Raw []byte
	// List is set for the list types when they could be taken apart.
	List *List

	num uint64
}

// number makes a Value that stands for itself and has no octets.
func number(v uint64) Value { return Value{Type: Unsigned64, num: v} }

// Uint returns the value as an unsigned number. ok is false for types that
// are not unsigned numbers, and for encodings longer than 8 octets.
func (v Value) Uint() (n uint64, ok bool) {
	switch v.Type {
	case Unsigned8, Unsigned16, Unsigned32, Unsigned64:
	default:
		return 0, false
	}
	if v.Raw == nil {
		return v.num, true
	}
	if len(v.Raw) == 0 || len(v.Raw) > 8 {
		return 0, false
	}
	return beUint(v.Raw), true
}

// Int returns the value of a signed number, with the sign of an encoding of
// reduced size (RFC 7011 §6.2) extended.
func (v Value) Int() (n int64, ok bool) {
	switch v.Type {
	case Signed8, Signed16, Signed32, Signed64:
	default:
		return 0, false
	}
	if len(v.Raw) == 0 || len(v.Raw) > 8 {
		return 0, false
	}
	shift := 64 - 8*uint(len(v.Raw))
	return int64(beUint(v.Raw)<<shift) >> shift, true
}

// Float returns the value of a floating-point number.
func (v Value) Float() (f float64, ok bool) {
	if v.Type != Float32 && v.Type != Float64 {
		return 0, false
	}
	switch len(v.Raw) {
	case 4:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(v.Raw))), true
	case 8:
		return math.Float64frombits(binary.BigEndian.Uint64(v.Raw)), true
	}
	return 0, false
}

// Addr returns the value of an address of 4 or 16 octets.
func (v Value) Addr() (a netip.Addr, ok bool) {
	if v.Type != IPv4Address && v.Type != IPv6Address {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(v.Raw)
}

// Text returns the value of a string, without the NULs that exporters pad
// strings of fixed length with. Each octet that is not UTF-8 becomes U+FFFD.
func (v Value) Text() (s string, ok bool) {
	if v.Type != String {
		return "", false
	}
	s = strings.TrimRight(string(v.Raw), "\x00")
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	return s, true
}

// Time returns the value of a point in time, in UTC. ok is false for other
// types and lengths, and for times outside the years 1 to 9999.
func (v Value) Time() (t time.Time, ok bool) {
	switch v.Type {
	case DateTimeSeconds:
		if len(v.Raw) == 0 || len(v.Raw) > 8 {
			return time.Time{}, false
		}
		t = time.Unix(int64(beUint(v.Raw)&math.MaxInt64), 0)
	case DateTimeMilliseconds:
		if len(v.Raw) == 0 || len(v.Raw) > 8 {
			return time.Time{}, false
		}
		t = time.UnixMilli(int64(beUint(v.Raw) & math.MaxInt64))
	case DateTimeMicroseconds, DateTimeNanoseconds:
		if len(v.Raw) != 8 {
			return time.Time{}, false
		}
		sec, ns := ntpTime(binary.BigEndian.Uint64(v.Raw))
		t = time.Unix(sec, ns)
		if v.Type == DateTimeMicroseconds {
			t = t.Round(time.Microsecond) // the last 11 bits say nothing
		}
	default:
		return time.Time{}, false
	}
	t = t.UTC()
	return t, t.Year() >= 1 && t.Year() <= 9999
}

// ntpTime reads the 64-bit NTP timestamp that microsecond and nanosecond
// times use (RFC 7011 §6.1.9): seconds since 1900 and a fraction. Timestamps
// whose top bit is clear are of the era that begins in 2036 (RFC 4330 §3).
func ntpTime(v uint64) (sec, ns int64) {
	const from1900To1970 = 2_208_988_800
	sec = int64(v>>32) - from1900To1970
	if v>>63 == 0 && v != 0 {
		sec += 1 << 32
	}
	// To the nearest: exporters cut off what does not fit the fraction, and cutting
	// off once more would show all that is not a power of two one too low.
	return sec, int64(((v&math.MaxUint32)*1_000_000_000 + 1<<31) >> 32)
}

// beUint reads 1 to 8 octets, most significant first.
func beUint(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	case 8:
		return binary.BigEndian.Uint64(b)
	}
	var v uint64
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}
