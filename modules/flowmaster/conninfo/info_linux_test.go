package conninfo

import (
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A value that an older kernel does not have is absent, and not zero.
func TestOlderKernels(t *testing.T) {
	full := unix.TCPInfo{
		State: 1, Rtt: 2000, Rttvar: 300, Min_rtt: 1000, Snd_cwnd: 10, Unacked: 4, Lost: 1, Total_retrans: 2,
		Bytes_acked: 900, Bytes_received: 800, Segs_out: 9, Segs_in: 8, Data_segs_out: 7, Data_segs_in: 6, Notsent_bytes: 50,
		Delivery_rate: 12345, Busy_time: 4000, Rwnd_limited: 500, Sndbuf_limited: 600, Delivered: 7, Delivered_ce: 3,
		Bytes_sent: 1100, Bytes_retrans: 100, Dsack_dups: 1, Rcv_ooopack: 5,
	}
	for _, c := range []struct {
		kernel string
		length uintptr
		fields Field
		sent   uint64
	}{
		{"2.6", 104, HasRTT, 0},
		{"4.1", 136, HasRTT | HasOctets, 900},
		{"4.2", 144, HasRTT | HasOctets | HasSegments, 900},
		{"4.6", 160, HasRTT | HasOctets | HasSegments | HasMinRTT, 900},
		{"4.9", 168, HasRTT | HasOctets | HasSegments | HasMinRTT | HasRate, 900},
		{"4.10", 192, HasRTT | HasOctets | HasSegments | HasMinRTT | HasRate | HasLimits, 900},
		{"4.18", 200, HasRTT | HasOctets | HasSegments | HasMinRTT | HasRate | HasLimits | HasECN, 900},
		{"4.19", 224, HasOutOfOrder - 1, 1050},
		{"5.4", 232, HasOutOfOrder<<1 - 1, 1050},
		{"now", unsafe.Sizeof(full), HasOutOfOrder<<1 - 1, 1050},
		{"none", 0, 0, 0},
	} {
		r := Reader{info: full, n: uint32(c.length)}
		var s Sample
		r.fill(&s)
		if s.Fields != c.fields || s.Sent != c.sent {
			t.Errorf("Linux %s: fields %b and %d sent, want %b and %d", c.kernel, s.Fields, s.Sent, c.fields, c.sent)
		}
	}
	r, s := Reader{info: full, n: uint32(unsafe.Sizeof(full))}, Sample{}
	r.fill(&s)
	want := Sample{
		Fields: HasOutOfOrder<<1 - 1, State: Established, Sent: 1050, Received: 800, Acked: 900, BytesSent: 1100, BytesRetrans: 100,
		SegsOut: 9, SegsIn: 8, DataSegsOut: 7, DataSegsIn: 6, TotalRetrans: 2, DSACKs: 1, OutOfOrder: 5, Delivered: 7, DeliveredCE: 3,
		RTT: 2 * time.Millisecond, RTTVar: 300 * time.Microsecond, MinRTT: time.Millisecond, DeliveryRate: 12345,
		Busy: 4 * time.Millisecond, RwndLimited: 500 * time.Microsecond, SndbufLimited: 600 * time.Microsecond,
		Window: 10, Unacked: 4, Lost: 1, NotSent: 50,
	}
	if s != want {
		t.Errorf("sample is\n%+v, want\n%+v", s, want)
	}
}
