package conninfo

import (
	"net"
	"testing"
)

// One reading of an open connection.
func BenchmarkSample(b *testing.B) {
	needsTCPInfo(b)
	x, peer := pair(b)
	c, _ := wrap(x)
	peer.Write([]byte("hello"))
	mustRead(b, c, 5)
	r, s := NewReader(), new(Sample)
	b.ReportAllocs()
	for b.Loop() {
		if !c.Sample(r, s) {
			b.Fatal("nothing was read")
		}
	}
}

// What wrapping adds to opening a connection.
func BenchmarkInit(b *testing.B) {
	x, _ := pair(b)
	e := new(ending)
	b.ReportAllocs()
	for b.Loop() {
		new(Conn).Init(x, e)
	}
}

// Writing and reading 16 KiB, wrapped and not: the wrapper is not on the way.
func BenchmarkCopy(b *testing.B) {
	for _, wrapped := range []bool{false, true} {
		b.Run(map[bool]string{false: "bare", true: "wrapped"}[wrapped], func(b *testing.B) {
			x, peer := pair(b)
			var c interface {
				Write([]byte) (int, error)
			} = x
			if wrapped {
				c, _ = wrap(x)
			}
			out, in := make([]byte, 16<<10), make([]byte, 16<<10)
			b.SetBytes(int64(len(out)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(out); err != nil {
					b.Fatal(err)
				}
				for n := 0; n < len(in); {
					m, err := peer.Read(in[n:])
					if err != nil {
						b.Fatal(err)
					}
					n += m
				}
			}
		})
	}
}

// Opening and closing a connection, wrapped and not.
func BenchmarkClose(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	for _, wrapped := range []bool{false, true} {
		b.Run(map[bool]string{false: "bare", true: "wrapped"}[wrapped], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				peer, err := ln.Accept()
				if err != nil {
					b.Fatal(err)
				}
				peer.(*net.TCPConn).SetLinger(0) // no port is kept waiting
				if wrapped {
					x, _ = wrap(x.(*net.TCPConn))
				}
				x.Close()
				peer.Close()
			}
		})
	}
}
