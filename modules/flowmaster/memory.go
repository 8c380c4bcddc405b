package flowmaster

import (
	"unsafe"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// memory is about what flowmaster takes, in bytes. What the runtime and Caddy take for a
// connection is not in it.
func (a *App) memory() int64 {
	p := a.state.process
	n := a.state.monitor.Status().MemoryBytes + a.state.templates.Status().TemplateBytes
	for _, d := range a.state.geo {
		n += d.Status().MemoryBytes
	}
	return n + p.downstream.memoryBytes() + p.upstream.memoryBytes() + p.endpoints.memoryBytes()
}

// memoryBytes is what the table takes: the connections, and the places for them.
func (t *connTable) memoryBytes() (n int64) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		n += int64(len(s.list))*int64(unsafe.Sizeof(tcpConn{})) + int64(cap(s.list))*int64(unsafe.Sizeof((*connection)(nil)))
		s.mu.Unlock()
	}
	return n + int64(unsafe.Sizeof(*t))
}

// histogramBytes is about what a native histogram takes with its classic buckets.
const histogramBytes = 2 << 10

// memoryBytes is about what a path takes. What is known of an address is a pointer in the
// map and what it leads to.
func (p *path) memoryBytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int64(unsafe.Sizeof(*p)) + int64(len(p.least))*2*int64(unsafe.Sizeof(leastRTT{})+unsafe.Sizeof(flow.Addr{}))
}

func (es *endpoints) memoryBytes() int64 {
	es.mu.RLock()
	defer es.mu.RUnlock()
	n := int64(len(es.all)) * (int64(unsafe.Sizeof(endpoint{})) + 3*histogramBytes)
	for _, p := range es.paths {
		n += p.memoryBytes()
	}
	return n
}
