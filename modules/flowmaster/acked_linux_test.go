package flowmaster

import (
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/conninfo"
)

// acknowledged returns how many of the octets that went out on a connection, whose own side
// has been ended, the other end's kernel has taken: by what the own kernel was told, once all
// is acknowledged or the connection is over. dialed says who opened it: then a SYN counts.
func acknowledged(c *net.TCPConn, out int64, dialed bool) (taken int64) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		over := true
		_ = raw.Control(func(fd uintptr) {
			i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			if err != nil {
				return
			}
			taken = int64(i.Bytes_acked)
			if dialed {
				taken--
			}
			over = taken > out || conninfo.State(i.State) == conninfo.Closed
		})
		if over {
			return min(taken, out) // without the FIN
		}
	}
	return -1
}
