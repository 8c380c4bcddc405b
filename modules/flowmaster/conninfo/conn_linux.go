package conninfo

import "io"

// ReadFrom sends what r has, with sendfile or splice where the kernel can.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) {
	bare, settle := unwrap(r)
	defer settle()
	return c.TCPConn.ReadFrom(bare)
}
