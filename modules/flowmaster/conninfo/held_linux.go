package conninfo

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// held is a second descriptor of a connection's socket, plus 1: with it the socket outlives
// the connection. The zero value holds nothing.
type held int

// hold holds on to the socket of a connection that is about to be closed. When there is no
// descriptor left it holds nothing.
func hold(raw syscall.RawConn) (h held) {
	_ = raw.Control(func(fd uintptr) {
		if second, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			h = held(second) + 1
		}
	})
	return h
}

// release ends the socket of a connection that has been closed, and lets go of it. From the
// end on the kernel takes nothing in: it answers what still comes with a reset. So what
// stands in s then, but for the state, is final. Nothing here waits.
//
// This is done on a descriptor of our own so that those who still read from the connection
// are told that it was closed, and not that the peer has ended it.
func (h held) release(r *Reader, s *Sample) {
	if h == 0 {
		return
	}
	fd := int(h) - 1
	defer unix.Close(fd)
	_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	if r.getsockopt(uintptr(fd)); r.err != nil {
		return
	}
	before := s.State
	r.fill(s)
	// The kernel looks at the state before it looks at the counts, and a FIN can come in
	// between, which in answer to our own is not rare. It had not when the state is the
	// same afterwards.
	if s.State.open() {
		var after Sample
		if r.getsockopt(uintptr(fd)); r.err == nil {
			r.fill(&after)
		}
		if after.Fields != 0 && !after.State.open() {
			*s = after
		}
	}
	fin := s.State.peerEnded()
	if s.State == Closed {
		r.drain(uintptr(fd))
		fin = r.fin
	}
	s.leaveOutFINs(fin, true)
	s.State = before
}
