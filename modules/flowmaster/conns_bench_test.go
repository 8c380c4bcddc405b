package flowmaster

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// Throughput of the proxy with flowmaster on against off: runs of both in turn, so that
// what the machine does meanwhile meets both, and the ratio of their medians.
func BenchmarkProxy(b *testing.B) {
	answer := make([]byte, 1024)
	back := startBackend(b, nil, func(w http.ResponseWriter, r *http.Request) { w.Write(answer) })
	addr := freeAddr(b)
	on := proxySite(addr, "http", fmt.Sprintf("lbpro %s {\n\tpool p\n}", back.addr))
	_, port, _ := net.SplitHostPort(addr)
	off := fmt.Sprintf("{\n\t%s\tservers {\n\t\tprotocols h1 h2\n\t}\n}\nhttp://127.0.0.1:%s {\n\tbind 127.0.0.1\n\tlbpro %s {\n\t\tpool p\n\t}\n}\n", quiet, port, back.addr)
	b.Cleanup(func() { caddy.Stop() })
	const workers, requests, rounds = 16, 250, 15
	measure := func(text string) float64 {
		// Not a reload: the kernel resets what has come to a listener that is replaced.
		if err := caddy.Stop(); err != nil {
			b.Fatal(err)
		}
		if err := caddy.Load(adapt(b, text), true); err != nil {
			b.Fatal(err)
		}
		transport := &http.Transport{MaxIdleConnsPerHost: workers}
		defer transport.CloseIdleConnections()
		hc := &http.Client{Transport: transport, Timeout: patience}
		run := func(each int) {
			var wg sync.WaitGroup
			for range workers {
				wg.Go(func() {
					for range each {
						res, err := hc.Get("http://" + addr)
						if err != nil {
							b.Error(err)
							return
						}
						io.Copy(io.Discard, res.Body)
						res.Body.Close()
					}
				})
			}
			wg.Wait()
		}
		run(20)
		began := time.Now()
		run(requests)
		return workers * requests / time.Since(began).Seconds()
	}
	for b.Loop() {
		var with, without []float64
		for i := range rounds {
			if i%2 == 0 {
				with, without = append(with, measure(on)), append(without, measure(off))
			} else {
				without, with = append(without, measure(off)), append(with, measure(on))
			}
		}
		slices.Sort(with)
		slices.Sort(without)
		b.ReportMetric(with[rounds/2]/without[rounds/2], "on/off")
		b.ReportMetric(with[rounds/2], "req/s-on")
		b.ReportMetric(without[rounds/2], "req/s-off")
	}
}

// What measuring adds to the memory of an open connection, and to opening and closing it.
func BenchmarkWatch(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	key := endpointKey{leg: flow.LegUpstream, pool: "p", backend: "b"}
	b.Run("memory", func(b *testing.B) {
		const n = 200
		p := newProcess()
		raw := make([]net.Conn, n)
		for i := range raw {
			raw[i] = dial()
		}
		watched := make([]net.Conn, n)
		p.watch(raw[0], p.endpoints.acquire(key))
		for b.Loop() {
			clear(watched)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			for i, c := range raw {
				watched[i] = p.watch(c, p.endpoints.acquire(key))
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/n, "B/conn")
			p.upstream = connTable{size: &p.size}
		}
		for _, c := range raw {
			c.Close()
		}
	})
	b.Run("last", func(b *testing.B) {
		p := newProcess()
		c := dial()
		defer c.Close()
		b.ReportAllocs()
		for b.Loop() {
			w := p.watch(c, p.endpoints.acquire(key)).(*tcpConn)
			w.Closing(&w.connection.last)
		}
	})
}
