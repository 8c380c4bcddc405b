package conninfo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	sizeofDiagRequest = 56 // struct inet_diag_req_v2
	sizeofDiagMessage = 72 // struct inet_diag_msg
	diagInfo          = 2  // INET_DIAG_INFO
)

// diagRequest asks for the TCP sockets of one family.
type diagRequest struct {
	family uint8
	states States
}

// Len implements nl.NetlinkRequestData.
func (diagRequest) Len() int { return sizeofDiagRequest }

// Serialize implements nl.NetlinkRequestData.
func (r diagRequest) Serialize() []byte {
	b := make([]byte, sizeofDiagRequest)
	b[0], b[1], b[2] = r.family, unix.IPPROTO_TCP, 1<<(diagInfo-1)
	binary.NativeEndian.PutUint32(b[4:], uint32(r.states))
	return b
}

// diagSeconds bounds how long the kernel may take for a part of an answer.
const diagSeconds = 5

// EachSocket calls f for the sockets that are in one of the states, for at most limit of
// them, and reports whether there are more. The Socket is valid until f returns. It needs
// no privilege.
func (r *Reader) EachSocket(states States, limit int, f func(*Socket)) (more bool, err error) {
	left := limit
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		more, err := r.eachOf(family, states, &left, f)
		if family == unix.AF_INET6 && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAFNOSUPPORT)) {
			break // there is no IPv6 here
		}
		if more || err != nil {
			return more, err
		}
	}
	return false, nil
}

// eachOf asks on a socket of its own: closing it ends what the kernel has not sent yet.
func (r *Reader) eachOf(family uint8, states States, left *int, f func(*Socket)) (more bool, err error) {
	s, err := nl.Subscribe(unix.NETLINK_INET_DIAG)
	if err != nil {
		return false, fmt.Errorf("opening a socket for sock_diag: %w", err)
	}
	defer s.Close()
	if err := s.SetReceiveTimeout(&unix.Timeval{Sec: diagSeconds}); err != nil {
		return false, fmt.Errorf("sock_diag: %w", err)
	}
	q := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
	q.AddData(diagRequest{family, states})
	if err := s.Send(q); err != nil {
		return false, fmt.Errorf("asking sock_diag: %w", err)
	}
	var one Socket
	for {
		messages, _, err := s.Receive()
		if err != nil {
			return false, fmt.Errorf("reading from sock_diag: %w", err)
		}
		for i := range messages {
			m := &messages[i]
			if m.Header.Seq != q.Seq {
				continue
			}
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return false, nil
			case unix.NLMSG_ERROR:
				return false, diagError(m.Data)
			}
			if *left == 0 {
				return true, nil
			}
			if r.socket(m.Data, &one) {
				*left--
				f(&one)
			}
		}
	}
}

func diagError(b []byte) error {
	if len(b) < 4 {
		return errors.New("sock_diag gave an error without a number")
	}
	return fmt.Errorf("sock_diag: %w", syscall.Errno(-int32(binary.NativeEndian.Uint32(b))))
}

// socket reads one answer.
func (r *Reader) socket(b []byte, s *Socket) bool {
	if len(b) < sizeofDiagMessage {
		return false
	}
	*s = Socket{
		State: State(b[1]), LocalPort: binary.BigEndian.Uint16(b[4:]), RemotePort: binary.BigEndian.Uint16(b[6:]),
		Cookie:       uint64(binary.NativeEndian.Uint32(b[44:])) | uint64(binary.NativeEndian.Uint32(b[48:]))<<32,
		ReceiveQueue: binary.NativeEndian.Uint32(b[56:]), SendQueue: binary.NativeEndian.Uint32(b[60:]), Inode: binary.NativeEndian.Uint32(b[68:]),
	}
	for rest := b[sizeofDiagMessage:]; len(rest) >= unix.SizeofRtAttr; {
		n := int(binary.NativeEndian.Uint16(rest))
		if n < unix.SizeofRtAttr || n > len(rest) {
			break
		}
		if binary.NativeEndian.Uint16(rest[2:]) == diagInfo && s.State != Listen {
			r.n = uint32(copy(unsafe.Slice((*byte)(unsafe.Pointer(&r.info)), unsafe.Sizeof(r.info)), rest[unix.SizeofRtAttr:n]))
			r.fill(&s.Info)
		}
		rest = rest[min(len(rest), (n+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1)):]
	}
	return true
}
