//go:build !linux

package conninfo

import "io"

// Here the kernel is not asked, so octets are counted on their way.

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	c.in.Add(uint64(max(n, 0)))
	return n, err
}

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	c.out.Add(uint64(max(n, 0)))
	return n, err
}

// ReadFrom sends what r has, with sendfile where the kernel can.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) {
	bare, settle := unwrap(r)
	defer settle()
	n, err := c.TCPConn.ReadFrom(bare)
	c.out.Add(uint64(max(n, 0)))
	if from, ok := r.(interface{ received(int64) }); ok {
		from.received(n)
	}
	return n, err
}

// WriteTo implements io.WriterTo.
func (c *Conn) WriteTo(w io.Writer) (int64, error) {
	n, err := c.TCPConn.WriteTo(w)
	c.in.Add(uint64(max(n, 0)))
	return n, err
}

// received counts what was read past Read.
func (c *Conn) received(n int64) { c.in.Add(uint64(max(n, 0))) }
