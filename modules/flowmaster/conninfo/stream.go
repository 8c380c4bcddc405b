package conninfo

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// Stream is any other connection: a TCP connection inside another type, a Unix socket. It
// counts octets on their way, and asks the kernel where it can be asked.
type Stream struct {
	net.Conn
	meter
}

// Init makes c the wrapper of conn. It is for those who embed a Stream.
func (c *Stream) Init(conn net.Conn, w Watcher) {
	c.Conn = conn
	c.counts = true
	c.init(conn, w)
}

// Read implements net.Conn.
func (c *Stream) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in.Add(uint64(max(n, 0)))
	return n, err
}

// Write implements net.Conn.
func (c *Stream) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.out.Add(uint64(max(n, 0)))
	return n, err
}

// ReadFrom implements io.ReaderFrom, with sendfile where the inner connection has it.
func (c *Stream) ReadFrom(r io.Reader) (int64, error) {
	rf, ok := c.Conn.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	n, err := rf.ReadFrom(r)
	c.out.Add(uint64(max(n, 0)))
	return n, err
}

// Close takes the last reading and closes the connection.
func (c *Stream) Close() error { return c.close(c.Conn) }

// CloseWrite ends the own side, if the inner connection can.
func (c *Stream) CloseWrite() error {
	w, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	c.shut.Store(true)
	return w.CloseWrite()
}

// Addressed reports whether the connection's addresses can be asked for without waiting:
// where they stand in what the peer sends, only once something of it was read.
func (c *Stream) Addressed() bool { return c.in.Load() > 0 || c.closed.Load() }

// SyscallConn implements syscall.Conn, if the inner connection does.
func (c *Stream) SyscallConn() (syscall.RawConn, error) {
	s, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return s.SyscallConn()
}

// NetConn returns the connection that is wrapped.
func (c *Stream) NetConn() net.Conn { return c.Conn }

// Interface guards
var (
	_ net.Conn      = (*Conn)(nil)
	_ syscall.Conn  = (*Conn)(nil)
	_ io.ReaderFrom = (*Conn)(nil)
	_ io.WriterTo   = (*Conn)(nil)
	_ net.Conn      = (*Stream)(nil)
	_ syscall.Conn  = (*Stream)(nil)
	_ io.ReaderFrom = (*Stream)(nil)
)
