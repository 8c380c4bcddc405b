package conninfo

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ending is a Watcher that keeps what it is told.
type ending struct {
	times atomic.Int32
	last  Sample
}

func (e *ending) Closing(s *Sample) { e.last = *s; e.times.Add(1) }

// pair returns both ends of a TCP connection over loopback.
func pair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	x, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	y, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	a, b = x.(*net.TCPConn), y.(*net.TCPConn)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func wrap(c *net.TCPConn) (*Conn, *ending) {
	e, w := new(ending), new(Conn)
	w.Init(c, e)
	return w, e
}

func needsTCPInfo(t testing.TB) {
	if !Supported {
		t.Skip(Note)
	}
}

func mustRead(t testing.TB, c net.Conn, n int) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if m, err := io.ReadFull(c, make([]byte, n)); err != nil {
		t.Fatalf("read %d of %d octets: %v", m, n, err)
	}
}

// settled waits until the kernel has taken in what is on its way.
func settled(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

func stateOf(c *Conn) State {
	var s Sample
	c.sample(NewReader(), &s, false)
	return s.State
}

// However a connection ends, the last reading has every octet, and none too many.
func TestOctetsToTheLast(t *testing.T) {
	needsTCPInfo(t)
	const up, down = 4321, 1234
	for name, end := range map[string]func(t *testing.T, c *Conn, peer *net.TCPConn){
		"we close": func(*testing.T, *Conn, *net.TCPConn) {},
		"the peer closes": func(t *testing.T, c *Conn, peer *net.TCPConn) {
			mustRead(t, peer, down)
			peer.Close()
			settled(t, "its FIN is here", func() bool { return stateOf(c) == CloseWait })
		},
		"both close, we first": func(t *testing.T, c *Conn, peer *net.TCPConn) {
			mustRead(t, peer, down)
			c.CloseWrite()
			io.Copy(io.Discard, peer)
			peer.Close()
			settled(t, "it is over", func() bool { return stateOf(c) == Closed })
		},
		"both close, the peer first": func(t *testing.T, c *Conn, peer *net.TCPConn) {
			mustRead(t, peer, down)
			peer.CloseWrite()
			settled(t, "its FIN is here", func() bool { return stateOf(c) == CloseWait })
			c.CloseWrite()
			settled(t, "it is over", func() bool { return stateOf(c) == Closed })
		},
		"the peer resets": func(t *testing.T, c *Conn, peer *net.TCPConn) {
			peer.SetLinger(0)
			peer.Close()
			settled(t, "it is over", func() bool { return stateOf(c) == Closed })
		},
		"the peer resets, and that was seen": func(t *testing.T, c *Conn, peer *net.TCPConn) {
			peer.SetLinger(0)
			peer.Close()
			settled(t, "it is over", func() bool { return stateOf(c) == Closed })
			for {
				if _, err := c.Read(make([]byte, 1<<16)); err != nil {
					break
				}
			}
			c.Write([]byte("x"))
		},
		"the peer ends and then resets, and that was seen": func(t *testing.T, c *Conn, peer *net.TCPConn) {
			peer.CloseWrite()
			settled(t, "its FIN is here", func() bool { return stateOf(c) == CloseWait })
			peer.SetLinger(0)
			peer.Close()
			settled(t, "it is over", func() bool { return stateOf(c) == Closed })
			io.Copy(io.Discard, c)
			c.Write([]byte("x"))
		},
		"the peer ends and then resets": func(t *testing.T, c *Conn, peer *net.TCPConn) {
			peer.CloseWrite()
			settled(t, "its FIN is here", func() bool { return stateOf(c) == CloseWait })
			peer.SetLinger(0)
			peer.Close()
			settled(t, "it is over", func() bool { return stateOf(c) == Closed })
		},
		"half closed": func(t *testing.T, c *Conn, peer *net.TCPConn) { c.CloseWrite() },
	} {
		for _, unread := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", unread"}[unread], func(t *testing.T) {
				x, peer := pair(t)
				c, e := wrap(x)
				if _, err := c.Write(make([]byte, down)); err != nil {
					t.Fatal(err)
				}
				if _, err := peer.Write(make([]byte, up)); err != nil {
					t.Fatal(err)
				}
				settled(t, "all is here", func() bool {
					var s Sample
					return c.Sample(NewReader(), &s) && s.Received == up
				})
				if !unread {
					mustRead(t, c, up)
				}
				end(t, c, peer)
				c.Close()
				if e.last.Sent != down || e.last.Received != up {
					t.Errorf("sent %d and received %d, want %d and %d (state %d)", e.last.Sent, e.last.Received, down, up, e.last.State)
				}
			})
		}
	}
}

// What waits behind a peer that does not read counts, and the FIN behind it does not.
func TestUnsentOctets(t *testing.T) {
	needsTCPInfo(t)
	x, peer := pair(t)
	c, e := wrap(x)
	n := 0
	for more := 1; n == 0 || more > 0; n += more { // until nothing fits any more
		var err error
		c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		if more, err = c.Write(make([]byte, 8<<20)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("wrote %d: %v", n, err)
		}
	}
	c.CloseWrite()
	var s Sample
	if !c.Sample(NewReader(), &s) || s.Sent != uint64(n) || s.NotSent == 0 {
		t.Errorf("sent %d, of which %d wait; want %d", s.Sent, s.NotSent, n)
	}
	peer.SetLinger(0)
	peer.Close()
	settled(t, "it is over", func() bool { return stateOf(c) == Closed })
	c.Close()
	if e.last.Sent != uint64(n) {
		t.Errorf("sent %d, want %d", e.last.Sent, n)
	}
}

func TestLastReadingIsTakenOnce(t *testing.T) {
	x, _ := pair(t)
	c, e := wrap(x)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { c.Close() })
	}
	wg.Wait()
	if n := e.times.Load(); n != 1 {
		t.Errorf("the last reading was taken %d times", n)
	}
	var s Sample
	if c.Sample(NewReader(), &s) {
		t.Error("a closed connection can be read")
	}
	if err := c.Close(); err == nil {
		t.Error("the second Close gives no error")
	}
}

// A file goes out by sendfile, and from one wrapped connection into another by splice: the
// wrapped types reach net's own.
func TestReadFrom(t *testing.T) {
	data := make([]byte, 3<<20)
	rand.Read(data)
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	send := func(t *testing.T, from io.Reader, sent int64) {
		x, peer := pair(t)
		c, e := wrap(x)
		got := make(chan []byte)
		go func() {
			b, _ := io.ReadAll(peer)
			got <- b
		}()
		n, err := c.ReadFrom(from)
		if err != nil || n != sent {
			t.Errorf("sent %d, want %d: %v", n, sent, err)
		}
		c.CloseWrite()
		if !bytes.Equal(<-got, data[:sent]) {
			t.Error("the peer got something else")
		}
		c.Close()
		if e.last.Sent != uint64(sent) {
			t.Errorf("%d octets are counted, want %d", e.last.Sent, sent)
		}
	}
	t.Run("file", func(t *testing.T) {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		send(t, f, int64(len(data)))
	})
	t.Run("part of parts", func(t *testing.T) {
		inner := &io.LimitedReader{R: bytes.NewReader(data), N: 3000}
		middle := &io.LimitedReader{R: inner, N: 2000}
		send(t, &io.LimitedReader{R: middle, N: 5000}, 2000)
		if inner.N != 1000 || middle.N != 0 {
			t.Errorf("%d and %d octets are left of the limits, want 1000 and 0", inner.N, middle.N)
		}
		deep := io.Reader(bytes.NewReader(data))
		for range 2 * mostLimits {
			deep = io.LimitReader(deep, 1234)
		}
		send(t, deep, 1234)
	})
	for _, limit := range []int64{0, 1 << 20} {
		t.Run(map[int64]string{0: "connection", 1 << 20: "part of a connection"}[limit], func(t *testing.T) {
			x, peer := pair(t)
			in, e := wrap(x)
			go func() {
				peer.Write(data)
				peer.CloseWrite()
			}()
			if limit == 0 {
				send(t, in, int64(len(data)))
				in.Close()
				if e.last.Received != uint64(len(data)) {
					t.Errorf("%d octets are counted, want %d", e.last.Received, len(data))
				}
				return
			}
			l := &io.LimitedReader{R: in, N: limit}
			send(t, l, limit)
			if l.N != 0 {
				t.Errorf("%d octets are left of the limit", l.N)
			}
		})
	}
}

// A Stream serves for what is no plain TCP connection.
func TestStream(t *testing.T) {
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Skipf("no Unix sockets here: %v", err)
	}
	defer ln.Close()
	x, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	e, c := new(ending), new(Stream)
	c.Init(x, e)
	c.Write([]byte("1234"))
	mustRead(t, peer, 4)
	peer.Write([]byte("12"))
	mustRead(t, c, 2)
	var s Sample
	if !c.Sample(NewReader(), &s) || s.Sent != 4 || s.Received != 2 || s.Fields != 0 {
		t.Errorf("sample is %+v", s)
	}
	if n, err := c.ReadFrom(bytes.NewReader(make([]byte, 10))); n != 10 || err != nil {
		t.Errorf("sent %d: %v", n, err)
	}
	mustRead(t, peer, 10)
	if err := c.CloseWrite(); err != nil || !c.Ended() {
		t.Errorf("half-close: %v", err)
	}
	if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the peer reads on: %v", err)
	}
	c.Close()
	if e.last.Sent != 14 || e.last.Received != 2 || e.times.Load() != 1 {
		t.Errorf("last sample is %+v", e.last)
	}
	p, _ := net.Pipe()
	c = new(Stream)
	c.Init(p, e)
	if _, err := c.SyscallConn(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a pipe has a socket: %v", err)
	}
	if err := c.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) || c.Ended() {
		t.Errorf("a pipe can be half-closed: %v", err)
	}
	c.Close()
}

func TestSince(t *testing.T) {
	before := Sample{Sent: 10, Received: 7, TotalRetrans: 3, Busy: time.Second}
	now := Sample{Fields: HasRTT, Sent: 15, Received: 6, TotalRetrans: 4, Busy: 3 * time.Second, RTT: time.Millisecond}
	d := now.Since(&before)
	if d.Sent != 5 || d.Received != 0 || d.TotalRetrans != 1 || d.Busy != 2*time.Second || d.RTT != time.Millisecond || d.Fields != HasRTT {
		t.Errorf("difference is %+v", d)
	}
}

// An open connection costs this much of the heap besides what net needs.
func TestMemory(t *testing.T) {
	const n = 1000
	conns := make([]*net.TCPConn, n)
	for i := range conns {
		conns[i] = new(net.TCPConn)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	all := make([]*Conn, n)
	for i := range all {
		all[i] = new(Conn)
		all[i].Init(conns[i], nil)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n
	runtime.KeepAlive(all)
	runtime.KeepAlive(conns)
	if each > 256 {
		t.Errorf("a connection takes %d bytes", each)
	}
}
