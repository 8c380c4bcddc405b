package decode

import (
	"encoding/hex"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendJSON appends the value as JSON: numbers as numbers, addresses and
// strings as strings, times as RFC 3339, octets as a string of hexadecimal
// digits after "0x" (RFC 7373), lists as arrays. A value whose length does
// not fit its type is shown as octets, an empty one as null.
func (v Value) AppendJSON(dst []byte) []byte {
	if v.List != nil {
		return v.List.appendJSON(dst)
	}
	if v.Raw == nil {
		return strconv.AppendUint(dst, v.num, 10)
	}
	if len(v.Raw) == 0 && v.Type != String {
		return append(dst, "null"...)
	}
	switch v.Type {
	case Unsigned8, Unsigned16, Unsigned32, Unsigned64:
		if n, ok := v.Uint(); ok {
			return strconv.AppendUint(dst, n, 10)
		}
	case Signed8, Signed16, Signed32, Signed64:
		if n, ok := v.Int(); ok {
			return strconv.AppendInt(dst, n, 10)
		}
	case Float32, Float64:
		if f, ok := v.Float(); ok && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return strconv.AppendFloat(dst, f, 'g', -1, 8*len(v.Raw))
		}
	case Boolean:
		if len(v.Raw) == 1 && v.Raw[0] == 1 {
			return append(dst, "true"...)
		}
		if len(v.Raw) == 1 && v.Raw[0] == 2 {
			return append(dst, "false"...)
		}
	case MACAddress:
		if len(v.Raw) == 6 {
			return appendMAC(dst, v.Raw)
		}
	case IPv4Address, IPv6Address:
		if a, ok := v.Addr(); ok {
			dst = append(dst, '"')
			dst = a.AppendTo(dst)
			return append(dst, '"')
		}
	case String:
		s, _ := v.Text()
		return appendJSONString(dst, s)
	case DateTimeSeconds, DateTimeMilliseconds, DateTimeMicroseconds, DateTimeNanoseconds:
		if t, ok := v.Time(); ok {
			return appendTime(dst, t)
		}
	}
	return appendOctets(dst, v.Raw)
}

func appendTime(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = t.UTC().AppendFormat(dst, time.RFC3339Nano)
	return append(dst, '"')
}

func appendOctets(dst, raw []byte) []byte {
	dst = append(dst, `"0x`...)
	dst = hex.AppendEncode(dst, raw)
	return append(dst, '"')
}

func appendMAC(dst, raw []byte) []byte {
	dst = append(dst, '"')
	for i := range raw {
		if i > 0 {
			dst = append(dst, ':')
		}
		dst = hex.AppendEncode(dst, raw[i:i+1])
	}
	return append(dst, '"')
}

// appendJSONString quotes s. Control characters, the C1 ones among them, are
// escaped: exporters' strings end up on terminals.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			dst = append(dst, "\ufffd"...)
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029:
			const digits = "0123456789abcdef"
			dst = append(dst, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
		default:
			dst = append(dst, s[i:i+n]...)
		}
		i += n
	}
	return append(dst, '"')
}
