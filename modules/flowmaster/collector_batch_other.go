//go:build !linux

package flowmaster

import (
	"net"
	"net/netip"
	"time"
)

// batch reads datagrams one by one where there is no recvmmsg.
type batch struct {
	conn   *net.UDPConn
	from   netip.Addr
	length int
	buffer []byte
}

func newBatch(conn *net.UDPConn) *batch { return &batch{conn: conn, buffer: make([]byte, 65535)} }

// read waits for a datagram and returns 1.
func (b *batch) read() (int, error) {
	n, from, err := b.conn.ReadFromUDPAddrPort(b.buffer)
	if err != nil {
		return 0, err
	}
	b.from, b.length = from.Addr().Unmap().WithZone(""), n
	return 1, nil
}

// poll is read for what is there already; 0 when nothing is.
func (b *batch) poll() int {
	if b.conn.SetReadDeadline(time.Now().Add(time.Millisecond)) != nil {
		return 0
	}
	n, err := b.read()
	if err != nil {
		return 0
	}
	return n
}

// datagram returns the sender and the payload of the datagram read last.
func (b *batch) datagram(int) (netip.Addr, []byte) { return b.from, b.buffer[:b.length] }

// setReceiveBuffer asks for n bytes; what is granted is not known here.
func setReceiveBuffer(conn *net.UDPConn, n int) int {
	if conn.SetReadBuffer(n) != nil {
		return 0
	}
	return n
}

// socketDrops is not known here.
func socketDrops(*net.UDPConn) (uint32, bool) { return 0, false }

// quiesce does nothing: what arrives after the last read is lost.
func quiesce(*net.UDPConn) {}
