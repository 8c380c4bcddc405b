package balance

import (
	"slices"
	"time"
)

// View is a copy of what a pool knows at one moment, for people and for metrics.
type View struct {
	Name string
	At   time.Duration

	Panicked bool // too few backends can serve, so ejections are ignored
	Outage   bool // no backend has answered since it last failed

	Active                          int64         // requests, in flight or queued
	Queued, QueueFull, QueueExpired int64         // waiting now; turned away ever
	BudgetUsed, BudgetDenied        int64         // second tries under way; refused ever
	Usual                           time.Duration // mean time to first byte; 0 when unknown
	Rest                            time.Duration // and how long the rest of an answer is waited for, in the mean
	MedianSpeed                     float64       // of the serving backends; see BackendView.Speed
	Backends                        []BackendView
}

// BackendView is a copy of what is known of one backend.
type BackendView struct {
	// Backend is whom this is about; it may have changed since.
	Backend *Backend
	ID      string

	State       State
	Reason      Reason        // why it is not serving
	Detail      string        // the numbers behind it
	Since       time.Duration // when the state began
	Until       time.Duration // when an ejection ends; 0 for not by itself
	Drain       *Drain        // an operator's drain, nil without one
	Probing     bool          // the next request is a probe
	Ejections   int           // in a row: each doubles the length of the next
	LastError   string        // text of the latest failure
	LastErrorAt time.Duration

	InFlight, Waiting int64 // reserved and not ended; of these without a first byte
	Limit             int64 // most in flight; 0 is no limit
	Backup            bool

	Weight WeightParts

	// Samples is how many answers the estimates rest on.
	Samples uint64
	// Speed is the time that the backend is waited for by a request that finds it idle, as a
	// multiple of what the same request takes on the pool's average backend.
	Speed float64
	// Width is how many requests it works on at once.
	Width float64
	// SuccessRate has a memory of 5 s and one good answer as prior.
	SuccessRate float64
	// Declines is the share of 4xx answers in the last seconds where that is far more than
	// the pool's backends usually give, else 0; UsualDeclines is what they give.
	Declines, UsualDeclines float64
	// Gap is the usual time between two answers while requests wait; 0 when unknown.
	Gap time.Duration
	// Silence is for how long it has not answered although it should have; 0 while it
	// does.
	Silence time.Duration
	// RestUntil is until when it asked for less by Retry-After; 0 when it did not.
	RestUntil time.Duration

	Score  Score
	Health Health
}

// WeightParts are the factors of a weight.
type WeightParts struct {
	Effective  float64 // the product
	Configured float64 // by the configuration
	Operator   float64 // in place of Configured, when Overridden
	Overridden bool
	Advised    float64 // path health and other advice, 1 when neutral
	Ramp       float64 // slow start, 1 when none is under way
}

// View returns a copy of what the pool knows. Cost: O(backends · log backends); it takes
// the locks of Tick for that long, never those of the request path.
func (p *Pool) View(now time.Duration) View {
	o := p.Options()
	p.tickMu.Lock()
	defer p.tickMu.Unlock()
	all := p.Backends()
	v := View{
		Name: p.Name, At: now, Panicked: p.Panicked(), Outage: p.Outage(), Active: p.Active(),
		Queued: p.Queue.Len(), QueueFull: p.Queue.Full(), QueueExpired: p.Queue.Expired(),
		BudgetUsed: p.Budget.Used(), BudgetDenied: p.Budget.Denied(),
		Usual:       time.Duration(p.mean * float64(time.Second)),
		Rest:        time.Duration(p.rest * float64(time.Second)),
		MedianSpeed: p.median(all, 1, speedOf),
		Backends:    make([]BackendView, len(all)),
	}
	for i, b := range all {
		v.Backends[i] = p.viewOf(b, o, now)
	}
	v.score(all)
	for i := range v.Backends {
		x := &v.Backends[i]
		x.Health = healthOf(x, v.MedianSpeed, o)
		x.Score.Why = x.why(now)
	}
	return v
}

// Backend returns the view of the backend with the id, nil when there is none.
func (v View) Backend(id string) *BackendView {
	if i := slices.IndexFunc(v.Backends, func(x BackendView) bool { return x.ID == id }); i >= 0 {
		return &v.Backends[i]
	}
	return nil
}

// viewOf copies what is known of b. p.tickMu is held.
func (p *Pool) viewOf(b *Backend, o Options, now time.Duration) BackendView {
	oldest, waits := b.oldest()
	b.mu.Lock()
	defer b.mu.Unlock()
	h, e := &b.health, &b.est
	x := BackendView{
		Backend: b, ID: b.ID,
		State: b.State(), Reason: h.reason, Detail: h.detail, Since: h.since, Until: h.until,
		Probing: b.wanted.Load(), Ejections: h.times, LastError: h.lastError, LastErrorAt: h.lastErrAt,
		InFlight: b.InFlight(), Waiting: b.Waiting(), Limit: b.Limit(), Backup: b.Backup(),
		Weight: WeightParts{
			Effective: b.Weight(), Configured: b.fromConfig, Overridden: b.overridden,
			Advised: b.advised, Ramp: b.rampLocked(o.SlowStart, now),
		},
		Samples: e.seen, Speed: e.speed, Width: b.Width(), SuccessRate: e.success(),
		Gap: time.Duration(e.gap * float64(time.Second)),
	}
	if e.declinesMore(p.declines) > 0 {
		x.Declines, x.UsualDeclines = e.declines(), p.declines
	}
	if x.State == Serving {
		x.Reason, x.Detail, x.Until = ReasonNone, "", 0
	}
	if x.State == Draining {
		d := b.drain
		x.Drain = &d
	}
	if b.overridden {
		x.Weight.Operator = b.configured
	}
	if b.resting.Load() && b.restUntil > now {
		x.RestUntil = b.restUntil
	}
	if b.silent.Load() {
		since := e.answered
		if at := time.Duration(b.outrunAt.Load()); at != 0 {
			since = max(since, at)
		} else if waits {
			since = max(since, oldest)
		}
		x.Silence = max(now-since, 1)
	}
	return x
}
