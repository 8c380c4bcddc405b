package flowmaster

import (
	"math"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/conninfo"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// connection is one open connection of either leg: what is known of it, and what of that
// has been counted already. A connection that serves many requests, or is taken from a
// pool again and again, is counted by differences, so nothing counts twice.
type connection struct {
	process  *process
	endpoint *endpoint
	reader   sampler
	opened   int64 // Unix milliseconds
	id       uint64
	slot     int // in its shard of the table; -1 when it is not there

	mu    sync.Mutex
	over  bool
	named bool  // has its addresses
	quiet uint8 // readings in a row that brought nothing new
	skip  uint8 // how many turns to let pass until the next reading
	last  conninfo.Sample
	told  pathTold

	peer, local         flow.Addr
	peerPort, localPort uint16
}

// pathTold is what of a connection its path has been told.
type pathTold struct {
	segments, again, dsacks, in uint32
	rtt                         time.Duration
}

// latest returns the round-trip time of what came since b. The kernel's is smoothed: each
// measurement moves it by an eighth, so that on a connection with few it lags behind by
// seconds. This takes the smoothing back. How many measurements there were is not known; it
// is taken to be as many as packets came in, which is the most, and brings the result nearer
// to the kernel's. It is 0 when no packet came in: then there was no measurement.
func (b *pathTold) latest(s *conninfo.Sample) time.Duration {
	n := s.SegsIn - b.in
	switch {
	case b.rtt == 0 || !s.Has(conninfo.HasSegments) || n > 32:
		return s.RTT
	case n == 0:
		return 0
	}
	kept := math.Pow(7./8, float64(n))
	return max(s.MinRTT, time.Duration((float64(s.RTT)-kept*float64(b.rtt))/(1-kept)))
}

// sampler reads a connection.
type sampler interface {
	Sample(*conninfo.Reader, *conninfo.Sample) bool
	Ended() bool
}

// addressed is one that has addresses, sooner or later.
type addressed interface {
	Addressed() bool
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
}

// tcpConn and otherConn are what listeners and dialers hand out.
type (
	tcpConn struct {
		conninfo.Conn
		connection
	}
	otherConn struct {
		conninfo.Stream
		connection
	}
)

// watch begins to measure conn, and returns what takes its place.
func (p *process) watch(conn net.Conn, e *endpoint) net.Conn {
	if c, ok := conn.(*net.TCPConn); ok {
		t := new(tcpConn)
		t.Conn.Init(c, &t.connection)
		p.begin(&t.connection, &t.Conn, e)
		return t
	}
	o := new(otherConn)
	o.Stream.Init(conn, &o.connection)
	p.begin(&o.connection, &o.Stream, e)
	return o
}

func (p *process) begin(c *connection, r sampler, e *endpoint) {
	c.process, c.endpoint, c.reader = p, e, r
	c.opened = time.Now().UnixMilli()
	c.name()
	e.active.Add(1)
	p.table(e.key.leg).add(c)
}

// name takes down the addresses, and reports whether it could. Behind `proxy_protocol` they
// stand in what the client sends, and to ask is to wait for it: whoever accepts connections
// must not. c.mu is held, or nobody else has c.
func (c *connection) name() bool {
	if c.named {
		return true
	}
	if a, ok := c.reader.(addressed); ok {
		if !a.Addressed() {
			return false
		}
		c.peer, c.peerPort = ends(a.RemoteAddr())
		c.local, c.localPort = ends(a.LocalAddr())
	}
	c.named = true
	return true
}

// ends returns address and port, or zero if it has none.
func ends(a net.Addr) (flow.Addr, uint16) {
	var ap netip.AddrPort
	if t, ok := a.(*net.TCPAddr); ok {
		ap = t.AddrPort()
	}
	if !ap.IsValid() {
		return flow.Addr{}, 0
	}
	return flow.AddrFrom(ap.Addr()), ap.Port()
}

// Closing implements conninfo.Watcher: the last reading.
func (c *connection) Closing(last *conninfo.Sample) {
	c.mu.Lock()
	c.over = true
	c.name()
	c.account(last, time.Now(), flow.EndOfFlow)
	c.mu.Unlock()
	e := c.endpoint
	e.observe(last)
	e.ended[c.reason(last)].Add(1)
	e.active.Add(-1)
	c.process.table(e.key.leg).remove(c)
	c.process.endpoints.release(e)
}

// reason tells from the state just before the close who ended the connection.
func (c *connection) reason(last *conninfo.Sample) endReason {
	switch last.State {
	case 0:
		return endedUnknown
	case conninfo.CloseWait, conninfo.LastAck:
		return endedByPeer
	case conninfo.Closed:
		if c.reader.Ended() {
			return endedByUs // over on both sides
		}
		return endedByReset
	}
	return endedByUs
}

// look takes a reading, if it is the connection's turn, and reports whether it was taken.
// full says that its round-trip times count: only some of the readings of a connection
// that is read often do.
func (c *connection) look(r *conninfo.Reader, now time.Time, longest uint8, full bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false
	}
	if c.skip > 0 {
		c.skip--
		return false
	}
	var s conninfo.Sample
	if !c.name() || !c.reader.Sample(r, &s) {
		return true
	}
	if s.Sent == c.last.Sent && s.Received == c.last.Received && s.BytesRetrans == c.last.BytesRetrans {
		c.quiet = min(c.quiet+1, 7)
		c.skip = min(uint8(1)<<c.quiet-1, longest)
		return true
	}
	c.quiet = 0
	c.account(&s, now, flow.EndUnknown)
	if full {
		c.endpoint.observe(&s)
	}
	return true
}

// glance takes a reading for the path alone, between two looks, if the connection was busy
// at the last one, and reports whether it was taken.
func (c *connection) glance(r *conninfo.Reader) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.quiet > 0 || c.endpoint.path == nil {
		return false
	}
	var s conninfo.Sample
	if c.reader.Sample(r, &s) {
		c.tellPath(&s)
	}
	return true
}

// tellPath tells the path what it does not know yet. c.mu is held.
func (c *connection) tellPath(s *conninfo.Sample) {
	if c.endpoint.path == nil {
		return
	}
	rtt := c.told.latest(s)
	before := conninfo.Sample{DataSegsOut: c.told.segments, TotalRetrans: c.told.again, DSACKs: c.told.dsacks}
	c.told = pathTold{s.DataSegsOut, s.TotalRetrans, s.DSACKs, s.SegsIn, s.RTT}
	d := s.Since(&before)
	c.endpoint.path.sent(c.peer, &d, rtt)
}

// account counts what happened since the last reading. c.mu is held.
func (c *connection) account(s *conninfo.Sample, now time.Time, end flow.EndReason) {
	d := s.Since(&c.last)
	c.last = *s
	e := c.endpoint
	e.count(&d)
	c.tellPath(s)
	if c.peer.IsZero() {
		return // a Unix socket: there is no flow on any network
	}
	if owner := c.process.owner.Load(); owner != nil {
		r := [1]flow.Record{c.record(&d, now, end)}
		r[0].BackendState = owner.backendState(e)
		owner.state.take(int(c.id), r[:])
	}
}

// record returns the flow record of d. The source is who opened the connection. Octets
// are those of data: headers of packets and retransmissions do not count.
func (c *connection) record(d *conninfo.Sample, now time.Time, end flow.EndReason) flow.Record {
	e := c.endpoint
	r := flow.Record{
		ReceivedMilliseconds: now.UnixMilli(), FlowStartMilliseconds: c.opened, FlowEndMilliseconds: now.UnixMilli(),
		Server: e.server, Pool: e.pool, Backend: e.backend, Leg: e.key.leg,
		ProtocolIdentifier: protocolTCP, SamplingPacketInterval: 1,
		FlowEndReason: end, BiflowDirection: flow.BiflowInitiator, Source: flow.SourceConnection, Exactness: flow.Exact,
	}
	if e.key.leg == flow.LegDownstream {
		r.SourceAddress, r.SourceTransportPort, r.DestinationAddress, r.DestinationTransportPort = c.peer, c.peerPort, c.local, c.localPort
		r.OctetDeltaCount, r.PacketDeltaCount = d.Received, uint64(d.SegsIn)
		r.ReverseOctetDeltaCount, r.ReversePacketDeltaCount = d.Sent, uint64(d.SegsOut)
		return r
	}
	r.SourceAddress, r.SourceTransportPort, r.DestinationAddress, r.DestinationTransportPort = c.local, c.localPort, c.peer, c.peerPort
	r.OctetDeltaCount, r.PacketDeltaCount = d.Sent, uint64(d.SegsOut)
	r.ReverseOctetDeltaCount, r.ReversePacketDeltaCount = d.Received, uint64(d.SegsIn)
	return r
}

const protocolTCP = 6
