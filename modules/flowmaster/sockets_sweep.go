package flowmaster

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/conninfo"
)

// socketSweeper looks at the sockets of other programs. There is one for the process, so
// that its counters go on through a reload.
type socketSweeper struct {
	latest atomic.Pointer[SocketsReport]

	mu        sync.Mutex
	reader    *conninfo.Reader
	list      []seenSocket
	before    map[uint64]socketCounts // by cookie, of the last sweep
	complete  bool                    // the last sweep saw all
	totals    map[string]*socketCounts
	truncated uint64 // sweeps that did not see all
}

// socketCounts is what a socket, or all of a name, has carried.
type socketCounts struct{ sent, received, again uint64 }

// seenSocket is what is kept of a socket until its owner is known.
type seenSocket struct {
	socketCounts
	cookie        uint64
	rtt, minRTT   time.Duration
	inode         uint32
	unread, unack uint32
	againSegments uint32
	local, remote uint16
	state         conninfo.State
}

// socketsPart sweeps while the app runs.
type socketsPart struct {
	app   *App
	names map[uint16]string
	runner
}

func (p *socketsPart) start() error {
	p.begin(p.run)
	return nil
}

func (p *socketsPart) run(ctx context.Context) {
	every := time.Duration(p.app.Host.Sockets.Interval)
	for wait := min(every, tickInterval); ; wait = every {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
			p.sweep()
		}
	}
}

// sweep looks at the sockets once. A panic in it is this app's, not the traffic's.
func (p *socketsPart) sweep() {
	defer func() {
		if v := recover(); v != nil {
			p.app.logger.Error("looking at sockets panicked", zap.Any("panic", v), zap.Stack("stack"))
		}
	}()
	if s := p.app.state; s.owner.Load() == p.app {
		s.sockets.sweep(p.app.Host.Sockets, p.names)
	}
}

// sweep makes a report. Who has a socket open is asked before and after the sockets are
// listed, since connections come and go meanwhile.
func (s *socketSweeper) sweep(h *HostSockets, names map[uint16]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	began := time.Now()
	r := &SocketsReport{At: began.UTC(), WithoutOwner: make(map[string]int), Ports: []*SocketGroup{}, Named: []*SocketGroup{}}
	defer func() {
		r.TookSeconds, r.truncatedSince = time.Since(began).Seconds(), s.truncated
		r.totals = make(map[string]socketCounts, len(s.totals))
		for name, t := range s.totals {
			r.totals[name] = *t
		}
		s.latest.Store(r)
	}()
	own := make(map[uint32]struct{})
	if err := ownSockets(own); err != nil {
		r.Note = "the sockets of Caddy cannot be told from others: " + err.Error()
		return
	}
	more, err := s.look(h.Limit)
	if err != nil {
		r.Note = err.Error()
		return
	}
	if err := ownSockets(own); err != nil {
		r.Note = "the sockets of Caddy cannot be told from others: " + err.Error()
		return
	}
	if r.Truncated = more; more {
		s.truncated++
	}
	r.LookedAt = len(s.list)
	s.group(r, own, names, h.Top)
	s.complete = !more
}

// look lists the sockets: listeners first, which tell the sides apart.
func (s *socketSweeper) look(limit int) (more bool, err error) {
	if s.reader == nil {
		s.reader = conninfo.NewReader()
	}
	s.list = s.list[:0]
	listeners := conninfo.StatesOf(conninfo.Listen)
	for _, states := range []conninfo.States{listeners, conninfo.AllStates &^ listeners} {
		more, err = s.reader.EachSocket(states, limit-len(s.list), func(o *conninfo.Socket) {
			i := &o.Info
			s.list = append(s.list, seenSocket{
				socketCounts: socketCounts{i.Sent, i.Received, i.BytesRetrans}, cookie: o.Cookie, rtt: i.RTT, minRTT: i.MinRTT, inode: o.Inode,
				unread: o.ReceiveQueue, unack: o.SendQueue, againSegments: i.TotalRetrans, local: o.LocalPort, remote: o.RemotePort, state: o.State,
			})
		})
		if more || err != nil {
			return more, err
		}
	}
	return false, nil
}

// keepTotals forgets the totals of names that are not configured any more.
func (s *socketSweeper) keepTotals(named map[string]*SocketGroup) {
	kept := make(map[string]*socketCounts, len(named))
	for name := range named {
		if kept[name] = s.totals[name]; kept[name] == nil {
			kept[name] = new(socketCounts)
		}
	}
	s.totals = kept
}

// grow adds what was carried since last.
func (c *socketCounts) grow(now, last *socketCounts) {
	c.sent += now.sent - min(now.sent, last.sent)
	c.received += now.received - min(now.received, last.received)
	c.again += now.again - min(now.again, last.again)
}

// Interface guards
var _ part = (*socketsPart)(nil)
