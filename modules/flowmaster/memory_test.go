package flowmaster

import (
	"net"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// What is held is in memory_bytes: open connections, backends, databases; and not any more
// when it is gone.
func TestMemory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.mmdb")
	replace(t, file, database("X", asn(1, "n"), "192.0.2.0/24"))
	app := runApp(t, "geoip "+file)
	p := app.state.process
	e := p.endpoints.acquire(endpointKey{leg: flow.LegDownstream, server: "memory"})
	defer p.endpoints.release(e)
	before := app.memory()
	if least := app.state.monitor.Status().MemoryBytes + app.state.geo[0].Status().MemoryBytes; before <= least {
		t.Errorf("%d bytes, want more than the %d of flows and the database", before, least)
	}
	const n = 500
	var list []*connection
	for range n {
		c := &connection{process: p, endpoint: e}
		p.downstream.add(c)
		list = append(list, c)
	}
	if grown := app.memory() - before; grown < n*int64(unsafe.Sizeof(tcpConn{})) {
		t.Errorf("%d connections take %d bytes", n, grown)
	}
	for _, c := range list {
		p.downstream.remove(c)
	}
	if now := app.memory(); now != before {
		t.Errorf("%d bytes, there were %d", now, before)
	}
	o := p.endpoints.acquire(endpointKey{leg: flow.LegUpstream, pool: "p", backend: net.JoinHostPort("10.0.0.1", "80")})
	p.endpoints.release(o)
	if app.memory() <= before {
		t.Error("a backend takes nothing")
	}
}
