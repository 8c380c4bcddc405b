package balance

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// State is where a backend stands.
type State uint32

// The states. Only Serving takes ordinary requests.
const (
	Serving  State = iota // takes requests; also during slow start
	Ejected               // takes none until its ejection ends
	HalfOpen              // takes one request, the probe
	Draining              // takes none by order of an operator; in-flight ones finish
)

var stateNames = [...]string{"serving", "ejected", "half_open", "draining"}

// String gives the name used in the API and in logs.
func (s State) String() string { return stateNames[s] }

// Backend is one server of a [Pool] and all that is known of it. Its methods may be
// called from any goroutine.
type Backend struct {
	// ID is the dial address as configured; unique in the pool.
	ID   string
	pool *Pool

	// Written by every request.
	inflight counter
	waiting  counter      // in flight without a first byte
	fails    counter      // failures since the last success
	outruns  counter      // attempts outrun since the last answer
	outrunAt atomic.Int64 // start of the first of them; 0 for none
	shards   []shard

	// Published by Tick and by operators; read by pickers.
	state    atomic.Uint32
	silent   atomic.Bool
	resting  atomic.Bool   // it asked for less by Retry-After
	wanted   atomic.Bool   // one request is wanted as a probe
	anyProbe atomic.Bool   // and it may be one that cannot be repeated
	cost     atomic.Uint64 // float64 bits: see Cost
	width    atomic.Uint64 // float64 bits: see Width
	weight   atomic.Uint64 // float64 bits: see Weight
	limit    atomic.Int64  // most requests in flight; 0 is no limit
	backup   atomic.Bool
	// stickyUntil is the deadline up to which a draining backend keeps sticky sessions.
	stickyUntil atomic.Int64
	base        atomic.Uint64 // float64 bits: see Base
	latency     latency
	place       atomic.Int32 // where Prequal last found it in its list; a hint

	// Totals for the metrics.
	Totals Totals
	// Data is whatever Pool.Attach returned for this backend.
	Data any

	mu         sync.Mutex // guards what follows; see the package's lock order
	est        estimate
	health     health
	configured float64 // the weight in force, 1 by default
	fromConfig float64 // the weight that the configuration gave
	overridden bool    // an operator has set another
	advised    float64 // path health and advice from elsewhere, 1 when neutral
	drain      Drain
	restUntil  time.Duration
}

func newBackend(p *Pool, id string, now time.Duration) *Backend {
	b := &Backend{ID: id, pool: p, configured: 1, fromConfig: 1, advised: 1}
	b.shards = make([]shard, max(1, min(4, runtime.GOMAXPROCS(0))))
	b.est.init(now)
	if p.Attach != nil {
		b.Data = p.Attach(b)
	}
	b.health.since = now
	b.cost.Store(math.Float64bits(1))
	b.width.Store(math.Float64bits(1))
	b.weight.Store(math.Float64bits(1))
	b.base.Store(math.Float64bits(1))
	return b
}

// State returns where the backend stands.
func (b *Backend) State() State { return State(b.state.Load()) }

// Silent reports whether the backend has requests waiting and has stopped answering.
func (b *Backend) Silent() bool { return b.silent.Load() }

// InFlight returns the number of requests reserved and not ended.
func (b *Backend) InFlight() int64 { return b.inflight.Load() }

// Waiting returns the number of requests in flight without a first byte.
func (b *Backend) Waiting() int64 { return b.waiting.Load() }

// Cost returns the predicted time of a request that finds the backend idle, to the end of
// the answer as far as the backend is waited for, as a multiple of what the same request
// takes on the pool's average backend, made worse by recent failures. It is above 0.
func (b *Backend) Cost() float64 { return math.Float64frombits(b.cost.Load()) }

// Width returns how many requests the backend works on at once before more of them
// only wait for one another, as estimated. It is at least 1.
func (b *Backend) Width() float64 { return math.Float64frombits(b.width.Load()) }

// Weight returns the share the backend should get, relative to a weight of 1: the
// operator's weight, slow start and advice multiplied. 0 takes no new requests.
func (b *Backend) Weight() float64 { return math.Float64frombits(b.weight.Load()) }

// Backup reports whether the backend is used only when the others cannot serve.
func (b *Backend) Backup() bool { return b.backup.Load() }

// Full reports whether the backend's limit of in-flight requests is reached.
func (b *Backend) Full() bool {
	l := b.limit.Load()
	return l > 0 && b.inflight.Load() >= l
}

// Limit returns the most requests in flight, 0 for no limit.
func (b *Backend) Limit() int64 { return b.limit.Load() }

// Open reports whether the backend takes an ordinary request now.
func (b *Backend) Open() bool {
	return State(b.state.Load()) == Serving && !b.silent.Load() && !b.resting.Load() && b.weight.Load() != 0 && !b.Full()
}
