package balance

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Pool is a set of backends that can stand in for one another. Its methods may be called
// from any goroutine; Tick from one at a time (others return at once).
type Pool struct {
	Name string

	// OnEvent, when set before the first request, hears of every change of state. It is
	// called by Tick and by the operator's calls, with no lock held.
	OnEvent func(Event)

	// Attach, when set before the first Join, makes the caller's own data of a backend.
	Attach func(*Backend) any

	mu       sync.Mutex // guards opts, byID and the making of a new backends slice
	opts     Options
	byID     map[string]*Backend
	backends atomic.Pointer[[]*Backend]

	wanted   atomic.Int32 // backends that want a probe; set by Tick
	panicked atomic.Bool
	census   census
	active   counter // requests between admission and end, for the retry budget
	Budget   Budget
	Queue    Queue

	tickMu  sync.Mutex // held by Tick; guards what follows
	routes  Routes
	mean    float64 // seconds to first byte of any request, for routes not yet known
	meanN   uint64
	rest    float64 // seconds that the rest of any answer is waited for
	restN   uint64
	scratch []sample

	kindsLate int // backends at which a kind of request is overdue; see late

	figures  []float64 // scratch of median
	width    float64   // the median of the backends' widths
	declines float64   // the share of 4xx answers that is usual
	ticked   time.Duration
	out      bool // the pool was in an outage at the last tick
	hedges   []hedgeCall
	events   []Event
}

type hedgeCall struct {
	of     Hedger
	reason HedgeReason
}

// Event is a change of state of a backend, or of the pool (Backend nil) for a panic.
type Event struct {
	Kind    EventKind
	Pool    *Pool
	Backend *Backend
	Reason  Reason
	Detail  string        // the numbers behind it
	For     time.Duration // length of an ejection
}

// EventKind says what changed.
type EventKind string

// The kinds of events.
const (
	EventEjected  EventKind = "ejected"
	EventHalfOpen EventKind = "half_open"
	EventRestored EventKind = "restored"
	EventDrained  EventKind = "drained"
	EventPanic    EventKind = "panic"
	EventCalm     EventKind = "calm" // the panic is over
)

// NewPool returns an empty pool.
func NewPool(name string, o Options) *Pool {
	p := &Pool{Name: name, opts: o, byID: make(map[string]*Backend)}
	p.backends.Store(&[]*Backend{})
	p.Budget.pool = p
	p.Queue.pool = p
	return p
}

// SetOptions changes the settings, as on a reload.
func (p *Pool) SetOptions(o Options) {
	p.mu.Lock()
	p.opts = o
	p.mu.Unlock()
}

// Options returns the settings.
func (p *Pool) Options() Options {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opts
}

// Backends returns the members in the order they joined. The slice must not be changed.
func (p *Pool) Backends() []*Backend { return *p.backends.Load() }

// Get returns the backend with the id, nil when there is none.
func (p *Pool) Get(id string) *Backend {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byID[id]
}

// Join returns the backend with the id and makes it a member if it is not. One that
// joins a pool that already has traffic starts slowly.
func (p *Pool) Join(id string, now time.Duration) *Backend {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.byID[id]; b != nil {
		return b
	}
	b := newBackend(p, id, now)
	if p.meanKnown() {
		b.health.ramp = max(now, 1)
		b.publishWeight(p.opts, now)
	}
	p.byID[id] = b
	next := append(slices.Clone(*p.backends.Load()), b)
	p.backends.Store(&next)
	return b
}

// Leave takes a backend out of the pool. Requests in flight there end as they would.
func (p *Pool) Leave(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.byID[id]
	if b == nil {
		return
	}
	delete(p.byID, id)
	next := slices.DeleteFunc(slices.Clone(*p.backends.Load()), func(x *Backend) bool { return x == b })
	p.backends.Store(&next)
	b.mu.Lock()
	b.state.Store(uint32(Draining))
	b.mu.Unlock()
}

// Outage reports whether no backend has answered since it last failed: there is nobody
// to try. A pool without backends is not in an outage.
func (p *Pool) Outage() bool {
	all := p.Backends()
	for _, b := range all {
		if b.fails.Load() == 0 && b.State() != Draining {
			return false
		}
	}
	return len(all) > 0
}

// meanKnown reports whether the pool has had traffic.
func (p *Pool) meanKnown() bool {
	for _, b := range *p.backends.Load() {
		if b.Totals.Requests.Load() > 0 {
			return true
		}
	}
	return false
}

// Panicked reports whether so few backends can serve that ejections are ignored.
func (p *Pool) Panicked() bool { return p.panicked.Load() }

// Active returns the number of requests in the pool, in flight or queued.
func (p *Pool) Active() int64 { return p.active.Load() }

// Enter counts a request as active until Exit.
func (p *Pool) Enter() { p.active.Add(1) }

// Exit ends what Enter began.
func (p *Pool) Exit() { p.active.Add(-1) }

// released is told of every place given back.
func (p *Pool) released(b *Backend) {
	if p.Queue.waiting.Load() > 0 {
		p.Queue.wake(b)
	}
}

func storeFloat(a *atomic.Uint64, v float64) {
	// 0 stays 0 so that readers can test the bits.
	a.Store(math.Float64bits(v + 0))
}
