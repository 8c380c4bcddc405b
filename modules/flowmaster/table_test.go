package flowmaster

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/conninfo"
)

func timeOf(unix int64) time.Time { return time.Unix(unix, 0) }

// The sweep comes to every connection in turn, whatever joins and leaves meanwhile.
func TestTableGoesAround(t *testing.T) {
	size := new(tableSize)
	size.limit.Store(1000)
	table := &connTable{size: size}
	stay := make(map[*connection]int)
	for range 100 {
		c := new(connection)
		table.add(c)
		stay[c] = 0
	}
	var buf []*connection
	for range 200 {
		c := new(connection)
		table.add(c)
		buf = table.next(buf[:0], 1+rand.IntN(20))
		for _, c := range buf {
			if _, ok := stay[c]; ok {
				stay[c]++
			}
		}
		table.remove(c)
		table.remove(c) // twice is once
	}
	for c, n := range stay {
		if n == 0 {
			t.Fatal("a connection was never looked at")
		}
		table.remove(c)
	}
	if table.len() != 0 || size.now.Load() != 0 {
		t.Errorf("%d connections are left, the table says %d", table.len(), size.now.Load())
	}
	if got := table.next(nil, 5); len(got) != 0 {
		t.Errorf("an empty table gives %d connections", len(got))
	}
}

// counted is a sampler whose figures are set by hand.
type counted struct {
	s     conninfo.Sample
	reads int
}

func (c *counted) Sample(_ *conninfo.Reader, s *conninfo.Sample) bool {
	c.reads++
	*s = c.s
	return true
}
func (c *counted) Ended() bool { return false }

// A connection on which nothing happens is looked at more and more rarely, but not never.
func TestQuietConnectionsAreSkipped(t *testing.T) {
	p := newProcess()
	r := new(counted)
	r.s.Received = 1
	c := &connection{process: p, endpoint: p.endpoints.acquire(endpointKey{server: "s"}), reader: r}
	for range 70 {
		c.look(nil, time.Now(), longestDownstream, false)
	}
	if r.reads < 10 || r.reads > 20 {
		t.Errorf("it was read %d times in 70 turns", r.reads)
	}
	r.s.Received = 2
	for range longestDownstream + 1 {
		c.look(nil, time.Now(), longestDownstream, false)
	}
	if n := c.endpoint.received.Load(); n != 2 {
		t.Errorf("%d octets count, want 2", n)
	}
	r.reads = 0
	for i := range 5 {
		r.s.Received += uint64(i + 1)
		c.look(nil, time.Now(), longestDownstream, false)
	}
	if r.reads != 5 {
		t.Errorf("a busy connection was read %d times in 5 turns", r.reads)
	}
}

// More connections than a second allows are put off and counted.
func TestSweepIsCapped(t *testing.T) {
	p := newProcess()
	for range 50 {
		c := &connection{process: p, endpoint: p.endpoints.acquire(endpointKey{server: "s"}), reader: new(counted)}
		p.downstream.add(c)
	}
	if n := p.sweeper.some(&p.downstream, 50, 20, time.Now(), longestDownstream, true); n != 20 {
		t.Errorf("%d were looked at, want 20", n)
	}
	if read, late := p.sweeper.read.Load(), p.sweeper.late.Load(); read != 20 || late != 30 {
		t.Errorf("%d were read and %d put off, want 20 and 30", read, late)
	}
	if n := p.sweeper.some(&p.downstream, 50, -3, time.Now(), longestDownstream, true); n != 0 {
		t.Errorf("%d were looked at without any budget", n)
	}
}
