package flowmaster

import (
	"sync/atomic"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/conninfo"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// sweeper looks at open connections. Those to backends are looked at every second,
// because the balancer wants to know how their path is; those of clients are spread over
// the sweep interval. Connections on which nothing happens are looked at more rarely.
type sweeper struct {
	reader *conninfo.Reader
	buf    []*connection
	turn   int
	spent  int           // glances since the last sweep
	read   atomic.Uint64 // readings taken
	late   atomic.Uint64 // connections whose turn was put off because there were too many
}

const (
	// A quiet client connection is looked at in every seventh sweep at least, a quiet one
	// to a backend every fourth second.
	longestDownstream = 6
	longestUpstream   = 3

	// Glances are done unless those of a second could take more than half of what may be
	// looked at in it.
	glanceShare = 2 * glances
)

// sweep does one second's part.
func (a *App) sweep(now time.Time) {
	p := a.state.process
	w := &p.sweeper
	budget := a.limits.SweepConnections - w.spent
	w.spent = 0
	every := max(1, int(time.Duration(a.SweepInterval)/tickInterval))
	w.turn = (w.turn + 1) % every
	// Upstream first: there are few, and a path that is not watched is trusted blindly.
	budget -= w.some(&p.upstream, p.upstream.len(), budget, now, longestUpstream, w.turn == 0)
	n := p.downstream.len()
	w.some(&p.downstream, (n+every-1)/every, budget, now, longestDownstream, true)
}

// glance looks at the connections to backends that are busy, for what it tells of the paths
// alone, a few times between two sweeps: what goes wrong on a path shows sooner. Where there
// are many connections the sweeps have readings enough, and this costs nothing.
func (a *App) glance() {
	p := a.state.process
	w := &p.sweeper
	n := p.upstream.len()
	if n == 0 || n > a.limits.SweepConnections/glanceShare {
		return
	}
	if w.reader == nil {
		w.reader = conninfo.NewReader()
	}
	w.buf = p.upstream.next(w.buf[:0], n)
	for i, c := range w.buf {
		if c.glance(w.reader) {
			w.read.Add(1)
			w.spent++
		}
		w.buf[i] = nil
	}
}

// some looks at the next n connections of a table, at most at budget of them, and returns
// how many it looked at.
func (w *sweeper) some(t *connTable, n, budget int, now time.Time, longest uint8, full bool) int {
	if n > budget {
		w.late.Add(uint64(n - max(budget, 0)))
		n = max(budget, 0)
	}
	if n == 0 {
		return 0
	}
	if w.reader == nil {
		w.reader = conninfo.NewReader()
	}
	w.buf = t.next(w.buf[:0], n)
	for i, c := range w.buf {
		if c.look(w.reader, now, longest, full) {
			w.read.Add(1)
		}
		w.buf[i] = nil
	}
	return n
}

// lookAtAll takes a reading of every open connection, whosever turn it is: before the end,
// so that what is reported then is complete.
func (p *process) lookAtAll(now time.Time) {
	r := conninfo.NewReader()
	for _, t := range []*connTable{&p.downstream, &p.upstream} {
		t.each(func(c *connection) bool {
			c.mu.Lock()
			c.skip = 0
			c.mu.Unlock()
			c.look(r, now, 0, false)
			return true
		})
	}
}

// backendStates is the balancer, when it is there: it knows whether a backend may be used.
type backendStates interface {
	// BackendState returns "available", "ejected" or "draining", or "" when the balancer
	// does not know the backend.
	BackendState(pool, backend string) string
}

// balancerApps are the apps that may implement backendStates.
var balancerApps = []string{"lbpro"}

func (a *App) findBalancer() {
	for _, name := range balancerApps {
		if app, err := a.ctx.AppIfConfigured(name); err == nil {
			if b, ok := app.(backendStates); ok {
				a.balancer = b
			}
		}
	}
}

// backendState returns what the balancer thinks of the backend of e.
func (a *App) backendState(e *endpoint) flow.BackendState {
	if a.balancer == nil || e.key.leg != flow.LegUpstream {
		return flow.BackendStateUnknown
	}
	switch a.balancer.BackendState(e.key.pool, e.key.backend) {
	case "available":
		return flow.BackendAvailable
	case "ejected":
		return flow.BackendEjected
	case "draining":
		return flow.BackendDraining
	}
	return flow.BackendStateUnknown
}
