package flowmaster

import (
	"cmp"
	"context"
	"slices"
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

type groupKey struct {
	client bool
	port   uint16
}

// group makes groups of the sockets that are not Caddy's.
func (s *socketSweeper) group(r *SocketsReport, own map[uint32]struct{}, names map[uint16]string, top int) {
	listening := make(map[uint16]struct{})
	for i := range s.list {
		if s.list[i].state == conninfo.Listen {
			listening[s.list[i].local] = struct{}{}
		}
	}
	groups := make(map[groupKey]*SocketGroup)
	named := make(map[string]*SocketGroup)
	for _, name := range names {
		named[name] = newGroup(name)
	}
	named[otherName] = newGroup(otherName)
	s.keepTotals(named)
	after := make(map[uint64]socketCounts, len(s.list))
	for i := range s.list {
		o := &s.list[i]
		if _, is := own[o.inode]; is {
			r.Own++
			continue
		}
		last, known := s.before[o.cookie]
		if o.inode == 0 && !known {
			r.WithoutOwner[o.state.String()]++
			continue
		}
		k := groupKey{port: o.local}
		if _, is := listening[o.local]; !is {
			k = groupKey{client: true, port: o.remote}
		}
		name := cmp.Or(names[k.port], otherName)
		g := groups[k]
		if g == nil {
			g = newGroup(names[k.port])
			g.Port, g.Side = k.port, "server"
			if k.client {
				g.Side = "client"
			}
			groups[k] = g
		}
		g.add(o)
		named[name].add(o)
		if o.state == conninfo.Listen {
			continue
		}
		after[o.cookie] = o.socketCounts
		if known || s.complete { // otherwise nobody knows how much of it is new
			s.totals[name].grow(&o.socketCounts, &last)
		}
	}
	s.before = after
	r.Ports, r.Other, r.OtherPorts = largest(groups, top)
	for _, g := range named {
		g.finish()
		r.Named = append(r.Named, g)
	}
	slices.SortFunc(r.Named, func(a, b *SocketGroup) int { return cmp.Compare(a.Name, b.Name) })
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

func newGroup(name string) *SocketGroup {
	return &SocketGroup{Name: name, States: make(map[string]int)}
}

func (g *SocketGroup) add(o *seenSocket) {
	g.Sockets++
	g.States[o.state.String()]++
	if o.state == conninfo.Listen {
		g.AcceptQueue += uint64(o.unread)
		g.AcceptLimit += uint64(o.unack)
		return
	}
	g.UnreadOctets += uint64(o.unread)
	g.UnacknowledgedOctets += uint64(o.unack)
	g.SentOctets += o.sent
	g.ReceivedOctets += o.received
	g.RetransOctets += o.again
	g.RetransSegments += uint64(o.againSegments)
	if o.rtt > 0 {
		g.addRTT(1, o.rtt.Seconds(), o.rtt.Seconds(), o.minRTT.Seconds())
	}
}

// addRTT adds round-trip times of n sockets; RTTSeconds is their sum until finish.
func (g *SocketGroup) addRTT(n int, sum, most, least float64) {
	g.rtts += n
	g.RTTSeconds += sum
	g.MaxRTTSeconds = max(g.MaxRTTSeconds, most)
	if least > 0 && (g.MinRTTSeconds == 0 || least < g.MinRTTSeconds) {
		g.MinRTTSeconds = least
	}
}

func (g *SocketGroup) merge(o *SocketGroup) {
	g.Sockets += o.Sockets
	for state, n := range o.States {
		g.States[state] += n
	}
	g.SentOctets += o.SentOctets
	g.ReceivedOctets += o.ReceivedOctets
	g.RetransOctets += o.RetransOctets
	g.RetransSegments += o.RetransSegments
	g.UnreadOctets += o.UnreadOctets
	g.UnacknowledgedOctets += o.UnacknowledgedOctets
	g.AcceptQueue += o.AcceptQueue
	g.AcceptLimit += o.AcceptLimit
	g.addRTT(o.rtts, o.RTTSeconds, o.MaxRTTSeconds, o.MinRTTSeconds)
}

func (g *SocketGroup) finish() {
	if g.rtts > 0 {
		g.RTTSeconds /= float64(g.rtts)
	}
}

// largest returns the groups with the most sockets, and all others together.
func largest(groups map[groupKey]*SocketGroup, top int) (list []*SocketGroup, other *SocketGroup, others int) {
	list = make([]*SocketGroup, 0, len(groups))
	for _, g := range groups {
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b *SocketGroup) int {
		return cmp.Or(cmp.Compare(b.Sockets, a.Sockets), cmp.Compare(b.SentOctets+b.ReceivedOctets, a.SentOctets+a.ReceivedOctets),
			cmp.Compare(a.Port, b.Port), cmp.Compare(a.Side, b.Side))
	})
	if len(list) > top {
		other, others = newGroup(""), len(list)-top
		for _, g := range list[top:] {
			other.merge(g)
		}
		other.finish()
		list = slices.Clip(list[:top])
	}
	for _, g := range list {
		g.finish()
	}
	return list, other, others
}

// Interface guards
var _ part = (*socketsPart)(nil)
