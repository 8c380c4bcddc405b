package flowmaster

import (
	"sync"
	"sync/atomic"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// connTable has the open connections of one leg, up to a limit that both legs share.
// Connections past it are measured only at their end.
type connTable struct {
	shards [tableShards]tableShard
	ids    atomic.Uint64
	size   *tableSize
	cursor cursor // of the sweep; only it uses it
}

const tableShards = 32

type tableShard struct {
	mu   sync.Mutex
	list []*connection
}

// tableSize is how many connections the tables of both legs have.
type tableSize struct {
	limit, now atomic.Int64
	beyond     atomic.Uint64 // connections that found the tables full
}

type cursor struct{ shard, slot int }

func (t *connTable) add(c *connection) {
	c.id = t.ids.Add(1)
	c.slot = -1
	if t.size.now.Add(1) > t.size.limit.Load() {
		t.size.now.Add(-1)
		t.size.beyond.Add(1)
		return
	}
	s := &t.shards[c.id%tableShards]
	s.mu.Lock()
	c.slot = len(s.list)
	s.list = append(s.list, c)
	s.mu.Unlock()
}

func (t *connTable) remove(c *connection) {
	s := &t.shards[c.id%tableShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.slot < 0 {
		return
	}
	n := len(s.list) - 1
	moved := s.list[n]
	s.list[c.slot], moved.slot = moved, c.slot
	s.list[n] = nil
	s.list = s.list[:n]
	if n == 0 || cap(s.list) > 4*n+64 {
		s.list = append(make([]*connection, 0, n), s.list...) // give memory back after a rush
	}
	c.slot = -1
	t.size.now.Add(-1)
}

func (t *connTable) len() (n int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		n += len(s.list)
		s.mu.Unlock()
	}
	return n
}

// next appends to buf up to n connections, going on where the last call ended and at most
// once around.
func (t *connTable) next(buf []*connection, n int) []*connection {
	c := &t.cursor
	for range tableShards + 1 {
		if n <= 0 {
			return buf
		}
		s := &t.shards[c.shard]
		s.mu.Lock()
		if c.slot < len(s.list) {
			part := s.list[c.slot:min(len(s.list), c.slot+n)]
			buf = append(buf, part...)
			n -= len(part)
			c.slot += len(part)
		}
		if c.slot >= len(s.list) {
			c.shard, c.slot = (c.shard+1)%tableShards, 0
		}
		s.mu.Unlock()
	}
	return buf
}

// each calls f for every connection until it returns false. f must not use the table.
func (t *connTable) each(f func(*connection) bool) {
	var buf []*connection
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		buf = append(buf[:0], s.list...)
		s.mu.Unlock()
		for _, c := range buf {
			if !f(c) {
				return
			}
		}
	}
}

// table returns the table of a leg.
func (p *process) table(leg flow.Leg) *connTable {
	if leg == flow.LegDownstream {
		return &p.downstream
	}
	return &p.upstream
}
