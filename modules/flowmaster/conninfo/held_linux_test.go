package conninfo

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tcpInfo is what the kernel says of the other end: it is read without a Reader.
func tcpInfo(t *testing.T, c *net.TCPConn) (info unix.TCPInfo) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			t.Error(err)
			return
		}
		info = *i
	}); err != nil {
		t.Fatal(err)
	}
	return info
}

// A connection that is closed while the peer goes on sending counts exactly what the kernel
// took, which the FIN tells the peer. Not an octet that came in while it was closed is
// missing, and none that came too late is counted. Where the FIN went out before, the peer
// may not have been told of the last: a reset tells it nothing.
func TestCloseWhileThePeerSends(t *testing.T) {
	for _, half := range []bool{false, true} {
		t.Run(map[bool]string{false: "open", true: "half closed"}[half], func(t *testing.T) {
			refused := 0
			for i := range 300 {
				x, peer := pair(t)
				c, e := wrap(x)
				wrote := make(chan uint64)
				go func() {
					var n uint64
					for err := error(nil); err == nil; { // until the connection is gone
						var m int
						m, err = peer.Write(make([]byte, 1000))
						n += uint64(m)
					}
					wrote <- n
				}()
				mustRead(t, c, 1+i*97)
				if half {
					c.CloseWrite()
				}
				c.Close()
				n := <-wrote
				io.Copy(io.Discard, peer)
				got, told := e.last.Received, tcpInfo(t, peer).Bytes_acked
				if got < told || got > n || !half && got != told {
					t.Fatalf("connection %d: %d received, the peer wrote %d and knows that %d were taken", i, got, n, told)
				}
				if got < n {
					refused++
				}
				peer.Close()
			}
			if refused == 0 {
				t.Error("nothing came too late: this has tested nothing")
			}
		})
	}
}

// Who reads from a connection when it is closed is told that, and not that the peer ended it.
func TestReaderIsToldOfTheClose(t *testing.T) {
	for range 50 {
		x, _ := pair(t)
		c, _ := wrap(x)
		said := make(chan error)
		go func() {
			_, err := c.Read(make([]byte, 1))
			said <- err
		}()
		c.Close()
		if err := <-said; !errors.Is(err, net.ErrClosed) {
			t.Fatalf("the reader is told %v", err)
		}
	}
}

// A connection that is to be reset ends with a reset and nothing else, as without a wrapper.
func TestResetIsAReset(t *testing.T) {
	x, peer := pair(t)
	c, e := wrap(x)
	peer.Write([]byte("hello"))
	mustRead(t, c, 5)
	if err := c.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	c.Close()
	peer.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the peer reads %v", err)
	}
	if e.last.Received != 5 {
		t.Errorf("%d octets are counted", e.last.Received)
	}
}

// Closing leaves no descriptor behind, whatever happens at the same time.
func TestCloseLeavesNoDescriptor(t *testing.T) {
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skipf("descriptors cannot be listed here: %v", err)
		}
		return len(list)
	}
	before := count()
	for range 200 {
		x, peer := pair(t)
		c, _ := wrap(x)
		var wg sync.WaitGroup
		wg.Go(func() { peer.Write(make([]byte, 10_000)); peer.Close() })
		wg.Go(func() { c.CloseWrite(); c.Close() })
		wg.Go(func() { c.Close() })
		wg.Go(func() {
			for r, s := NewReader(), new(Sample); c.Sample(r, s); {
			}
		})
		wg.Wait()
	}
	if n := count(); n > before {
		t.Errorf("%d descriptors, there were %d", n, before)
	}
}

// A peer that ends its side in answer to our end, in whatever moment, adds no octet.
func TestEndInAnswerToOurs(t *testing.T) {
	for i := range 1000 {
		x, peer := pair(t)
		c, e := wrap(x)
		done := make(chan struct{})
		go func() {
			defer close(done)
			peer.Write([]byte("1234567"))
			io.Copy(io.Discard, peer)
			peer.Close()
		}()
		mustRead(t, c, 7)
		c.Close()
		<-done
		if e.last.Received != 7 {
			t.Fatalf("connection %d: %d octets received, want 7", i, e.last.Received)
		}
	}
}
