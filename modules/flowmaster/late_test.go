package flowmaster

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/conninfo"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// Connections that the proxy tears down while the other side is sending count what was
// taken before the end, to the octet, and nothing of what came too late.
func TestConnectionsThatTheProxyAborts(t *testing.T) {
	if !conninfo.Supported {
		t.Skip(conninfo.Note)
	}
	b := startBackend(t, nil, func(w http.ResponseWriter, r *http.Request) {
		for chunk := make([]byte, 32<<10); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	addr := freeAddr(t)
	startCaddy(t, proxySite(addr, "http", fmt.Sprintf("handle /abort {\n\tabort\n}\n\thandle {\n\tlbpro %s {\n\tpool p\n\tretry off\n\thedge off\n\teject off\n}\n}", b.addr)))
	var client tally
	const n = 30
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range n / 2 {
				c, err := client.dial(t.Context(), "tcp", addr)
				if err != nil {
					t.Error(err)
					return
				}
				c.SetDeadline(time.Now().Add(patience))
				fmt.Fprintf(c, "POST /abort HTTP/1.1\r\nHost: %s\r\nContent-Length: 1000000000\r\n\r\n", addr)
				for err == nil {
					_, err = c.Write(make([]byte, 1000))
				}
				c.Close()
			}
		})
		wg.Go(func() {
			for range n / 2 {
				res, err := http.Get("http://" + addr + "/")
				if err != nil {
					t.Error(err)
					return
				}
				io.CopyN(io.Discard, res.Body, 1<<20)
				res.Body.Close() // which ends the connection, and the one to the backend
			}
		})
	}
	wg.Wait()
	down, up := endpointOf(t, clients()), endpointOf(t, endpointKey{leg: flow.LegUpstream, pool: "p", backend: b.addr})
	eventually(t, "the connections have ended", func() bool {
		return down.active.Load() == 0 && up.active.Load() == 0 && client.ended.Load() == n && b.ended.Load() == b.conns.Load()
	})
	eventually(t, "octets from the backend are those that were taken", func() bool { return int64(up.received.Load()) == b.taken.Load() })
	if up.ended[endedByUs].Load() == 0 || b.out.Load() == b.taken.Load() {
		t.Error("nothing came too late from the backend: this has tested nothing")
	}
	recorded(t, flow.LegUpstream, up)
	// The other clients send whole requests, all of one length.
	requests := int64(down.received.Load()) - client.taken.Load()
	if requests <= 0 || requests%n != 0 || requests/n > 200 {
		t.Errorf("%d octets received from clients, of which uploads were %d: the rest is not of %d equal requests", down.received.Load(), client.taken.Load(), n)
	}
	if client.out.Load() == client.taken.Load() {
		t.Error("nothing came too late from a client: this has tested nothing")
	}
	recorded(t, flow.LegDownstream, down)
}
