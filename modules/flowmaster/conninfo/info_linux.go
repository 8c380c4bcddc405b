package conninfo

import (
	"encoding/binary"
	"errors"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Supported says whether readings have more than counts of octets.
const Supported = true

// Note says what is missing here.
const Note = ""

// Reader reads connections, one at a time. Its memory is used again for each.
type Reader struct {
	info unix.TCPInfo
	n    uint32
	err  error
	fn   func(fd uintptr)

	ended func(fd uintptr)
	fin   bool
	rest  []byte
}

// NewReader returns a Reader.
func NewReader() *Reader {
	r := new(Reader)
	r.fn, r.ended = r.getsockopt, r.drain
	return r
}

// getsockopt does what unix.GetsockoptTCPInfo does, but keeps how much the kernel wrote.
func (r *Reader) getsockopt(fd uintptr) {
	r.n = uint32(unsafe.Sizeof(r.info))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&r.info)), uintptr(unsafe.Pointer(&r.n)), 0)
	r.err = nil
	if e != 0 {
		r.err = e
	}
}

// drain throws away what came in and was not read, to see what stands behind it. When
// there is nothing any more, reading gives an end in any case once someone has seen the
// error; but the kernel's hint at what is left (4.18) still tells a FIN.
func (r *Reader) drain(fd uintptr) {
	if r.rest == nil {
		r.rest = make([]byte, 16<<10)
	}
	r.fin = false
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_INQ, 1)
	var oob [64]byte
	for range 1 << 14 { // more than a receive buffer holds
		n, oobn, _, _, err := unix.Recvmsg(int(fd), r.rest, oob[:], unix.MSG_DONTWAIT)
		if n > 0 || errors.Is(err, unix.EINTR) {
			continue
		}
		r.fin = err == nil && hintsAtFIN(oob[:oobn])
		return
	}
}

// hintsAtFIN reports whether the control messages of an empty read say that there is
// something left: that is the FIN. A kernel that says nothing is believed to have one.
func hintsAtFIN(oob []byte) bool {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return true
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_TCP && m.Header.Type == unix.TCP_CM_INQ && len(m.Data) >= 4 {
			return binary.NativeEndian.Uint32(m.Data) != 0
		}
	}
	return true
}

// read fills s with what the kernel knows of the connection. shut says that the own side
// has been ended. The last reading is taken when nobody reads from the connection any more.
func (r *Reader) read(raw syscall.RawConn, s *Sample, shut, last bool) error {
	if err := raw.Control(r.fn); err != nil {
		return err
	}
	if r.err != nil {
		return r.err
	}
	r.fill(s)
	// A closed connection does not tell whether the peer ended it or reset it, except to
	// one who reads on.
	fin := s.State.peerEnded()
	if s.State == Closed && last && raw.Control(r.ended) == nil {
		fin = r.fin
	}
	s.leaveOutFINs(fin, shut)
	return nil
}

// leaveOutFINs takes off what the kernel counts as an octet: the peer's FIN when it has
// come, the own one as long as it waits behind data.
func (s *Sample) leaveOutFINs(fin, shut bool) {
	if fin && s.Received > 0 {
		s.Received--
	}
	if shut && s.NotSent > 0 {
		s.Sent--
	}
}

// since is where each group of fields ends: a kernel that wrote so much has it.
var since = []struct {
	field Field
	end   uintptr
}{
	{HasRTT, unsafe.Offsetof(unix.TCPInfo{}.Pacing_rate)},
	{HasOctets, unsafe.Offsetof(unix.TCPInfo{}.Segs_out)},
	{HasSegments, unsafe.Offsetof(unix.TCPInfo{}.Notsent_bytes)},
	{HasMinRTT, unsafe.Offsetof(unix.TCPInfo{}.Delivery_rate)},
	{HasRate, unsafe.Offsetof(unix.TCPInfo{}.Busy_time)},
	{HasLimits, unsafe.Offsetof(unix.TCPInfo{}.Delivered)},
	{HasECN, unsafe.Offsetof(unix.TCPInfo{}.Bytes_sent)},
	{HasSent, unsafe.Offsetof(unix.TCPInfo{}.Reord_seen)},
	{HasOutOfOrder, unsafe.Offsetof(unix.TCPInfo{}.Snd_wnd)},
}

// fill turns the kernel's structure, of which r.n octets are valid, into a Sample.
func (r *Reader) fill(s *Sample) {
	i := &r.info
	*s = Sample{}
	for _, f := range since {
		if uintptr(r.n) >= f.end {
			s.Fields |= f.field
		}
	}
	us := func(v uint32) time.Duration { return time.Duration(v) * time.Microsecond }
	long := func(v uint64) time.Duration { return time.Duration(min(v, 1<<53)) * time.Microsecond }
	s.State = State(i.State)
	s.RTT, s.RTTVar = us(i.Rtt), us(i.Rttvar)
	s.Window, s.Unacked, s.Lost, s.TotalRetrans = i.Snd_cwnd, i.Unacked, i.Lost, i.Total_retrans
	if s.Has(HasOctets) {
		s.Acked, s.Received = i.Bytes_acked, i.Bytes_received
	}
	if s.Has(HasSegments) {
		s.SegsOut, s.SegsIn = i.Segs_out, i.Segs_in
	}
	if s.Has(HasMinRTT) {
		s.DataSegsOut, s.DataSegsIn, s.NotSent = i.Data_segs_out, i.Data_segs_in, i.Notsent_bytes
		if i.Min_rtt != ^uint32(0) { // that is: not measured
			s.MinRTT = us(i.Min_rtt)
		}
	}
	if s.RTT == 0 {
		s.MinRTT = 0
	}
	if s.Has(HasRate) {
		s.DeliveryRate = i.Delivery_rate
	}
	if s.Has(HasLimits) {
		s.Busy, s.RwndLimited, s.SndbufLimited = long(i.Busy_time), long(i.Rwnd_limited), long(i.Sndbuf_limited)
	}
	if s.Has(HasECN) {
		s.Delivered, s.DeliveredCE = i.Delivered, i.Delivered_ce
	}
	if s.Has(HasSent) {
		s.BytesSent, s.BytesRetrans, s.DSACKs = i.Bytes_sent, i.Bytes_retrans, i.Dsack_dups
	}
	if s.Has(HasOutOfOrder) {
		s.OutOfOrder = i.Rcv_ooopack
	}
	s.Sent = s.sent()
}

// sent is how many octets the connection was given: what went out for the first time and
// what waits. Before 4.19 the kernel counts only what was acknowledged.
func (s *Sample) sent() uint64 {
	if !s.Has(HasSent) {
		return s.Acked
	}
	return s.BytesSent - min(s.BytesRetrans, s.BytesSent) + uint64(s.NotSent)
}
