package conninfo

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// Watcher is told when a connection ends.
type Watcher interface {
	// Closing is called once, when the connection is closed, with the last reading. Its
	// State is the one just before. It must not block.
	Closing(last *Sample)
}

// meter reads one connection.
type meter struct {
	raw     syscall.RawConn // nil if there is none
	watcher Watcher
	shut    atomic.Bool // the own side was ended
	closed  atomic.Bool
	abrupt  atomic.Bool // closing is to reset the connection

	// What Read and Write counted, where the kernel does not.
	in, out atomic.Uint64
	counts  bool
}

func (m *meter) init(c any, w Watcher) {
	m.watcher = w
	if wrapped, ok := c.(interface{ Raw() net.Conn }); ok { // what reads the PROXY protocol's header
		c = wrapped.Raw()
	}
	if s, ok := c.(syscall.Conn); ok {
		m.raw, _ = s.SyscallConn()
	}
}

// sample reads the connection into s, and reports whether s means anything.
func (m *meter) sample(r *Reader, s *Sample, last bool) bool {
	asked := m.raw != nil && r.read(m.raw, s, m.shut.Load(), last) == nil
	if !asked {
		*s = Sample{}
	}
	if !s.Has(HasOctets) {
		s.Sent, s.Received = m.out.Load(), m.in.Load()
	}
	return asked || m.counts
}

// Sample reads the connection with r, which only one may use at a time, into s. It reports
// whether there is something to know: not when the connection is closed, nor when the
// peer's end of it cannot be told from a reset before the last reading.
func (m *meter) Sample(r *Reader, s *Sample) bool {
	return !m.closed.Load() && m.sample(r, s, false) && s.State != Closed
}

// Ended reports whether the own side was ended by CloseWrite.
func (m *meter) Ended() bool { return m.shut.Load() }

var readers = sync.Pool{New: func() any { return NewReader() }}

// close takes the last reading and closes the connection, which is c.
//
// What comes in between a reading and the end would be taken by the kernel and counted by
// nobody. So where more can come, the socket is held on to while c is closed, for as long as
// it takes to end it and read it once more.
func (m *meter) close(c io.Closer) error {
	if !m.closed.CompareAndSwap(false, true) {
		return c.Close()
	}
	r := readers.Get().(*Reader)
	defer readers.Put(r)
	var s Sample
	m.sample(r, &s, true)
	var h held
	if s.Has(HasOctets) && s.State.open() && !m.abrupt.Load() {
		h = hold(m.raw)
	}
	err := c.Close()
	h.release(r, &s)
	m.watcher.Closing(&s)
	return err
}

// Conn is a TCP connection that can be read, and is read before it is closed. Everything
// that a *net.TCPConn offers it offers too.
type Conn struct {
	*net.TCPConn
	meter
}

// Init makes c the wrapper of conn. It is for those who embed a Conn.
func (c *Conn) Init(conn *net.TCPConn, w Watcher) {
	c.TCPConn = conn
	c.counts = !Supported
	c.init(conn, w)
}

// Close takes the last reading and closes the connection.
func (c *Conn) Close() error { return c.close(c.TCPConn) }

// SetLinger says what becomes of data that waits when the connection is closed.
func (c *Conn) SetLinger(sec int) error {
	c.abrupt.Store(sec == 0) // which is a reset: no FIN may go out before it
	return c.TCPConn.SetLinger(sec)
}

// CloseWrite ends the own side.
func (c *Conn) CloseWrite() error {
	c.shut.Store(true)
	return c.TCPConn.CloseWrite()
}

// Addressed reports that the connection's addresses can be asked for without waiting.
func (c *Conn) Addressed() bool { return true }

// NetConn returns the connection that is wrapped.
func (c *Conn) NetConn() net.Conn { return c.TCPConn }

// bare returns the connection for splicing from it, which net does for its own type only.
func (c *Conn) bare() *net.TCPConn { return c.TCPConn }

// unwrap makes r one that net recognises, if it is a Conn or a part of one, or a part of a
// part of anything: net sees through one limit only, and Caddy puts a second around files.
// settle is called afterwards.
func unwrap(r io.Reader) (bare io.Reader, settle func()) {
	type wrapper interface{ bare() *net.TCPConn }
	if w, ok := r.(wrapper); ok {
		return w.bare(), func() {}
	}
	outer, ok := r.(*io.LimitedReader)
	if !ok {
		return r, func() {}
	}
	flat := *outer
	for range mostLimits {
		inner, ok := flat.R.(*io.LimitedReader)
		if !ok {
			break
		}
		flat.R, flat.N = inner.R, min(flat.N, inner.N)
	}
	if w, ok := flat.R.(wrapper); ok {
		flat.R = w.bare()
	}
	if flat.R == outer.R {
		return r, func() {}
	}
	allowed := flat.N
	return &flat, func() {
		used := allowed - flat.N
		for l, depth := outer, 0; l != nil && depth <= mostLimits; depth++ {
			l.N -= used
			l, _ = l.R.(*io.LimitedReader)
		}
	}
}

// mostLimits is how many limits inside one another are looked through.
const mostLimits = 4
