package flowmaster

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/conninfo"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// endpointKey is what connections are counted by. All of it is configured.
type endpointKey struct {
	leg     flow.Leg
	server  string // downstream
	pool    string // upstream
	backend string // upstream
}

// labels are those of every metric of an endpoint.
func (k endpointKey) labels() []string { return []string{k.leg.String(), k.server, k.pool, k.backend} }

var endpointLabels = []string{"leg", "server", "pool", "backend"}

// endReason is how a connection ended.
type endReason uint8

const (
	endedByUs    endReason = iota // this process closed it first
	endedByPeer                   // the peer did
	endedByReset                  // it was reset, or timed out
	endedUnknown                  // the system does not tell
	endReasons
)

func (r endReason) String() string {
	return [...]string{"local", "remote", "reset", "unknown"}[r]
}

// endpoint has the figures of all connections with one key. They outlive connections and
// configurations.
type endpoint struct {
	key                   endpointKey
	server, pool, backend flow.NameID

	refs   int          // open connections and attempts; guarded by endpoints.mu
	used   atomic.Int64 // when it was last used, in Unix seconds
	active atomic.Int64
	ended  [endReasons]atomic.Uint64

	sent, received          atomic.Uint64
	bytesSent, bytesRetrans atomic.Uint64
	ce                      atomic.Uint64
	busy, rwnd, sndbuf      atomic.Int64  // nanoseconds
	rate                    atomic.Uint64 // bits of a float64: octets per second
	connectFailures         atomic.Uint64

	rtt, minRTT prometheus.Observer
	connect     prometheus.Observer // upstream only

	path *path // of the backend; nil downstream and for what is counted as other
}

// rateWeight is how much one reading moves the delivery rate.
const rateWeight = 0.1

// count adds what happened since the last reading.
func (e *endpoint) count(d *conninfo.Sample) {
	e.sent.Add(d.Sent)
	e.received.Add(d.Received)
	e.bytesSent.Add(d.BytesSent)
	e.bytesRetrans.Add(d.BytesRetrans)
	e.ce.Add(uint64(d.DeliveredCE))
	e.busy.Add(int64(d.Busy))
	e.rwnd.Add(int64(d.RwndLimited))
	e.sndbuf.Add(int64(d.SndbufLimited))
	if d.DataSegsOut == 0 || d.DeliveryRate == 0 {
		return
	}
	for {
		old := e.rate.Load()
		r := float64(d.DeliveryRate)
		if v := math.Float64frombits(old); v > 0 {
			r = v + rateWeight*(r-v)
		}
		if e.rate.CompareAndSwap(old, math.Float64bits(r)) {
			return
		}
	}
}

// observe adds the round-trip times of a reading to the histograms.
func (e *endpoint) observe(s *conninfo.Sample) {
	if s.RTT > 0 {
		e.rtt.Observe(s.RTT.Seconds())
	}
	if s.MinRTT > 0 {
		e.minRTT.Observe(s.MinRTT.Seconds())
	}
}

// endpoints has all endpoints of the process, up to a limit.
type endpoints struct {
	limit   atomic.Int64
	refused atomic.Uint64 // connections counted as other
	names   *flow.Names

	mu    sync.RWMutex
	all   map[endpointKey]*endpoint
	paths map[string]*path // by backend
}

// otherName is the name of what is past the limit.
const otherName = "other"

// endpointIdle is how long an endpoint is remembered that nobody uses.
const endpointIdle = time.Hour

// acquire returns the endpoint with the key. Give it back with release.
func (es *endpoints) acquire(k endpointKey) *endpoint {
	es.mu.Lock()
	defer es.mu.Unlock()
	e := es.all[k]
	if e == nil {
		if int64(len(es.all)) >= es.limit.Load() {
			es.refused.Add(1)
			k = endpointKey{leg: k.leg, server: otherName}
			if k.leg == flow.LegUpstream {
				k = endpointKey{leg: k.leg, pool: otherName, backend: otherName}
			}
			e = es.all[k]
		}
		if e == nil {
			e = es.add(k)
		}
	}
	e.refs++
	e.used.Store(time.Now().Unix())
	return e
}

func (es *endpoints) add(k endpointKey) *endpoint {
	e := &endpoint{
		key: k, server: es.names.ID(k.server), pool: es.names.ID(k.pool), backend: es.names.ID(k.backend),
		rtt: rttSeconds.WithLabelValues(k.labels()...), minRTT: minRTTSeconds.WithLabelValues(k.labels()...),
	}
	if k.leg == flow.LegUpstream {
		e.connect = connectSeconds.WithLabelValues(k.labels()...)
		if k.backend != otherName || k.pool != otherName {
			e.path = es.paths[k.backend]
			if e.path == nil {
				e.path = newPath()
				es.paths[k.backend] = e.path
			}
			e.path.refs++
		}
	}
	es.all[k] = e
	return e
}

func (es *endpoints) release(e *endpoint) {
	es.mu.Lock()
	defer es.mu.Unlock()
	e.refs--
	e.used.Store(time.Now().Unix())
}

// expire forgets endpoints that have not been used for long: backends that a dynamic
// source named once, parts of the configuration that are gone.
func (es *endpoints) expire(now time.Time) {
	es.mu.Lock()
	defer es.mu.Unlock()
	for _, e := range es.all {
		if e.refs == 0 && now.Unix()-e.used.Load() > int64(endpointIdle/time.Second) {
			es.forget(e)
		}
	}
}

func (es *endpoints) forget(e *endpoint) {
	delete(es.all, e.key)
	for _, h := range []*prometheus.HistogramVec{rttSeconds, minRTTSeconds, connectSeconds} {
		h.DeleteLabelValues(e.key.labels()...)
	}
	if e.path == nil {
		return
	}
	if e.path.refs--; e.path.refs == 0 {
		delete(es.paths, e.key.backend)
	}
}

// each calls f for every endpoint.
func (es *endpoints) each(f func(*endpoint)) {
	es.mu.RLock()
	defer es.mu.RUnlock()
	for _, e := range es.all {
		f(e)
	}
}
