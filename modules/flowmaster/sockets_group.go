package flowmaster

import (
	"cmp"
	"slices"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/conninfo"
)

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
