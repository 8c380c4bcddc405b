package flowmaster

import "unsafe"

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

func (es *endpoints) memoryBytes() int64 {
	es.mu.RLock()
	defer es.mu.RUnlock()
	return int64(len(es.all))*(int64(unsafe.Sizeof(endpoint{}))+3*histogramBytes) + int64(len(es.paths))*int64(unsafe.Sizeof(path{}))
}
