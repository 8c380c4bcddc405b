package decode

import (
	"testing"
	"time"
)

// What an exporter cut off to fit the 32-bit fraction of an NTP timestamp is not lost twice.
func TestNTPTimes(t *testing.T) {
	const second = (uint64(1_700_000_000) + 2_208_988_800) << 32
	for _, ns := range []int64{0, 1, 999_999_999, 123_456_789, 500_000_000, 100_000_000, 300_000_001} {
		cut := second | uint64(ns)<<32/1_000_000_000
		got, ok := Value{Type: DateTimeNanoseconds, Raw: words(int(cut>>48), int(cut>>32), int(cut>>16), int(cut))}.Time()
		if want := time.Unix(1_700_000_000, ns).UTC(); !ok || !got.Equal(want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	for _, us := range []int64{0, 1, 999_999, 123_456, 500_000, 100_000, 300_001} {
		cut := second | uint64(us)<<32/1_000_000
		for _, rest := range []uint64{cut, cut &^ 0x7ff, cut | 0x7ff} { // the last 11 bits say nothing (RFC 7011 §6.1.9)
			got, ok := Value{Type: DateTimeMicroseconds, Raw: words(int(rest>>48), int(rest>>32), int(rest>>16), int(rest))}.Time()
			if want := time.Unix(1_700_000_000, us*1000).UTC(); !ok || !got.Equal(want) {
				t.Errorf("%v, want %v", got, want)
			}
		}
	}
}

// Octets that are no UTF-8 are replaced one for one, so that how many there were shows.
func TestTextThatIsNotUTF8(t *testing.T) {
	for in, want := range map[string]string{"a\xff\xfeb": "a\ufffd\ufffdb", "\xc3": "\ufffd", "\u00e9\x00\x00": "\u00e9", "\ufffd": "\ufffd"} {
		if got, ok := (Value{Type: String, Raw: []byte(in)}).Text(); !ok || got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}
