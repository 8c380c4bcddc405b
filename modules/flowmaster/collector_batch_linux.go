package flowmaster

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is how many datagrams are read in one system call. A flood then costs little
// more than one call for each 64.
const batchSize = 64

// mostDatagram is the longest UDP payload there can be.
const mostDatagram = 65535

// batch reads datagrams with recvmmsg. Its memory is used again and again; what a
// datagram never reaches is never touched.
type batch struct {
	raw     syscall.RawConn
	headers [batchSize]unix.Mmsghdr
	iovecs  [batchSize]unix.Iovec
	names   [batchSize]unix.RawSockaddrInet6
	buffers []byte

	n     int
	errno syscall.Errno
	try   func(fd uintptr) bool // made once, so that reading allocates nothing
}

func newBatch(conn *net.UDPConn) *batch {
	b := &batch{buffers: make([]byte, batchSize*mostDatagram)}
	b.raw, _ = conn.SyscallConn() // fails only for a conn that is nil
	for i := range b.headers {
		b.iovecs[i].Base = &b.buffers[i*mostDatagram]
		b.iovecs[i].SetLen(mostDatagram)
		h := &b.headers[i].Hdr
		h.Iov = &b.iovecs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
	}
	b.try = func(fd uintptr) bool {
		b.receive(fd)
		return b.errno != syscall.EAGAIN
	}
	return b
}

// read waits for datagrams and returns how many there are.
func (b *batch) read() (int, error) {
	if err := b.raw.Read(b.try); err != nil {
		return 0, err
	}
	if b.errno != 0 {
		return 0, os.NewSyscallError("recvmmsg", b.errno)
	}
	return b.n, nil
}

// poll is read for what is there already; 0 when nothing is.
func (b *batch) poll() int {
	b.n = 0
	if err := b.raw.Control(b.receive); err != nil {
		return 0
	}
	return b.n
}

func (b *batch) receive(fd uintptr) {
	for {
		for i := range b.headers {
			b.headers[i].Hdr.Namelen = unix.SizeofSockaddrInet6
		}
		n, _, errno := syscall.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.headers[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
		if errno == syscall.EINTR {
			continue
		}
		b.n, b.errno = int(n), errno
		if errno != 0 {
			b.n = 0
		}
		return
	}
}

// datagram returns the sender and the payload of datagram i of the batch. The payload is
// valid until the next read.
func (b *batch) datagram(i int) (netip.Addr, []byte) {
	payload := b.buffers[i*mostDatagram:][:b.headers[i].Len]
	name := &b.names[i]
	switch name.Family {
	case unix.AF_INET:
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrFrom4(four.Addr), payload
	case unix.AF_INET6:
		return netip.AddrFrom16(name.Addr).Unmap(), payload
	}
	return netip.Addr{}, payload
}

// setReceiveBuffer asks for n bytes and returns how many are granted.
func setReceiveBuffer(conn *net.UDPConn, n int) (granted int) {
	control(conn, func(fd int) {
		// With CAP_NET_ADMIN there is no bound; without, the kernel's.
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, n) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, n) // what came of it is read below
		}
		if v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil {
			granted = v / 2 // the kernel doubles it, for its own use
		}
	})
	return granted
}

// memInfoDrops is where SO_MEMINFO has the number of datagrams dropped (SK_MEMINFO_DROPS).
const memInfoDrops = 8

// socketDrops returns how many datagrams the kernel has dropped at the socket.
func socketDrops(conn *net.UDPConn) (drops uint32, ok bool) {
	control(conn, func(fd int) {
		var info [64]byte
		size := uint32(len(info))
		_, _, errno := syscall.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno == 0 && size >= 4*(memInfoDrops+1) {
			drops, ok = binary.NativeEndian.Uint32(info[4*memInfoDrops:]), true
		}
	})
	return drops, ok
}

// quiesce lets nothing more arrive, while what has arrived can still be read: a connected
// socket takes datagrams of its peer alone. Those of others go to the sockets of the next
// configuration, if there are any.
func quiesce(conn *net.UDPConn) {
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return
	}
	var peer unix.Sockaddr = &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}
	control(conn, func(fd int) {
		if domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil && domain == unix.AF_INET6 {
			peer = &unix.SockaddrInet6{Port: 9, Addr: [16]byte{15: 1}}
			if local.IP.To4() != nil && !local.IP.IsUnspecified() {
				peer = &unix.SockaddrInet6{Port: 9, Addr: [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}}
			}
		}
		// Should it fail, some datagrams are lost that arrive after the last read.
		_ = unix.Connect(fd, peer)
	})
}

func control(conn *net.UDPConn, f func(fd int)) {
	if raw, err := conn.SyscallConn(); err == nil {
		// Fails only for a closed socket; f has not run then.
		_ = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}
