package balance

import "time"

// Outcome is how one attempt at one backend ended.
type Outcome uint8

// The outcomes. Only the ones up to TooBusy say something about the backend.
const (
	// Success is an answer that is not a failure of the backend: any status below 400,
	// and those 5xx that speak of the request (501, 505).
	Success Outcome = iota
	// Declined is a 4xx answer: the backend is well, as far as one can tell. How fast it
	// came tells nothing of work, and one that lacks what the others have answers fast.
	Declined
	// ServerError is a 5xx answer.
	ServerError
	// ConnectFailure means that no connection came about, so nothing was sent.
	ConnectFailure
	// TransportFailure is a connection that broke after something may have been sent.
	TransportFailure
	// Timeout means that the backend gave no first byte in the time allowed.
	Timeout
	// TooBusy is 429, or 503 with Retry-After: the backend is well and asks for less.
	TooBusy
	// Canceled means that the client went away, or that the attempt was not needed.
	Canceled
	// Outrun means that a hedge, begun later at another backend, answered first.
	Outrun
)

var outcomeNames = [...]string{"success", "declined", "server_error", "connect_failure", "transport_failure", "timeout", "too_busy", "canceled", "outrun"}

// String gives the name used in metrics and logs.
func (o Outcome) String() string { return outcomeNames[o] }

// Failed reports whether the outcome counts against the backend.
func (o Outcome) Failed() bool { return o >= ServerError && o <= Timeout }

// Attempt is one request at one backend, from reservation to the last byte. The zero
// value is ready for [Backend.Begin]. It belongs to the goroutine that carries the
// request; the fields under "shard.mu" are also read by Tick.
type Attempt struct {
	// Route is what the request asks for, as [Routes.Key] names it.
	Route RouteKey
	// Hedge, when not nil, lets Tick ask that the request be tried elsewhere as well.
	Hedge Hedger

	// Set by Begin.
	backend *Backend
	shard   *shard
	start   time.Duration
	load    int32 // requests in flight at the backend at the start, this one included
	probe   bool  // the single request that tests a half-open backend
	ended   bool

	// Guarded by shard.mu.
	waiting    bool        // no first byte yet, and the backend has the whole request
	hedged     HedgeReason // why Tick asked for a hedge; HedgeNone until then
	prev, next *Attempt
	sent       time.Duration // since when the backend has the whole request
	sending    bool          // it has not yet, and that may be the client's doing

	open     bool          // its sample waits for the end of the answer
	slot     uint32        // the place of that sample, as shard.written counts
	answered time.Duration // from sent to first byte; 0 before it
}

// Hedger can try a request elsewhere as well.
type Hedger interface {
	// StartHedge is called with no lock held, at most once an attempt, and must not block.
	StartHedge(reason HedgeReason)
}

// HedgeReason says why an attempt should be tried elsewhere as well.
type HedgeReason uint8

// The reasons for a hedge.
const (
	HedgeNone   HedgeReason = iota
	HedgeSilent             // the backend has gone silent
	HedgeSlow               // the backend is known to be slow and the request is overdue
	HedgeHung               // the backend was ejected as hung; the request has to move
)

var hedgeNames = [...]string{"none", "silent", "slow", "hung"}

// String gives the name used in metrics and logs.
func (r HedgeReason) String() string { return hedgeNames[r] }

// Backend returns the backend that Begin reserved, nil before it.
func (a *Attempt) Backend() *Backend { return a.backend }

// Start returns when the attempt began.
func (a *Attempt) Start() time.Duration { return a.start }

// MarkProbe says, before Begin, that this is the request that tests a half-open backend.
func (a *Attempt) MarkProbe() { a.probe = true }

// IsProbe reports whether this attempt is the one that tests a half-open backend.
func (a *Attempt) IsProbe() bool { return a.probe }

// MarkSending says, before Begin, that the request has a body that is still to be sent.
// How long that takes may be up to the client, so the backend is not waited for until
// [Attempt.Sent].
func (a *Attempt) MarkSending() { a.sending = true }

// Sent says that the backend has been sent all of the request. It may be called from
// another goroutine, and after the end.
func (a *Attempt) Sent(now time.Duration) {
	s := a.shard
	s.mu.Lock()
	if a.sending {
		a.sending, a.sent = false, now
		s.push(a)
		a.backend.waiting.Add(1)
	}
	s.mu.Unlock()
}

// Answered returns the time from the end of the request to the first byte of the answer,
// 0 if there was none yet.
func (a *Attempt) Answered() time.Duration { return a.answered }

// Begin reserves a place at the backend for a: it counts as in flight from here on, so
// that the next choice already sees it. Every Begin needs exactly one [Attempt.End].
// The caller must not reuse a before End has returned.
func (b *Backend) Begin(a *Attempt, now time.Duration) {
	b.begin(a, b.inflight.Add(1), now)
}

// TryBegin is Begin unless the backend is at its limit, and reports which it was. Between
// a choice and this others may have taken the last place.
func (b *Backend) TryBegin(a *Attempt, now time.Duration) bool {
	l := b.limit.Load()
	if l <= 0 {
		b.Begin(a, now)
		return true
	}
	for n := b.inflight.Load(); n < l; n = b.inflight.Load() {
		if b.inflight.CompareAndSwap(n, n+1) {
			b.begin(a, n+1, now)
			return true
		}
	}
	return false
}

func (b *Backend) begin(a *Attempt, load int64, now time.Duration) {
	a.backend = b
	a.start = now
	a.load = int32(load)
	a.answered, a.ended, a.hedged, a.open = 0, false, HedgeNone, false
	a.shard = &b.shards[fastrand()%uint64(len(b.shards))]
	if !a.sending {
		a.sent = now
		s := a.shard
		s.mu.Lock()
		s.push(a)
		b.waiting.Add(1)
		s.mu.Unlock()
	}
	b.Totals.Requests.Add(1)
}

// FirstByte records that the backend has begun to answer with the outcome that the
// status stands for. A second call does nothing.
func (a *Attempt) FirstByte(now time.Duration, o Outcome) {
	a.settle(now, o)
}

func (a *Attempt) settle(now time.Duration, o Outcome) {
	if a.answered != 0 || a.ended {
		return
	}
	b, s := a.backend, a.shard
	judged := o < Canceled
	part := partFirst
	s.mu.Lock()
	if a.sending { // it was answered early, or broke off: the client's time is in it
		a.sending, a.sent, part = false, a.start, partNone
	}
	if a.waiting {
		s.remove(a)
		b.waiting.Add(-1)
	}
	took := max(now-a.sent, 1)
	if judged || o == Outrun {
		a.slot = uint32(s.written)
		s.write(sample{route: a.Route, at: now, took: took, load: a.load, outcome: o, probe: a.probe, part: part})
	}
	s.mu.Unlock()
	if judged {
		a.answered = took
	}
	a.open = o == Success && part == partFirst
	if o == Outrun && a.hedged == HedgeSlow {
		o = Canceled // slow is not silent: it might have answered yet
	}
	b.note(a, o)
}

// Delivered says, before End, that the answer is over, and how long after its first byte
// its reader had to wait for the backend in all. Time for which the backend waited for the
// reader is not in it. What is below 0 is not known, as when the client left in the middle:
// then the answer says nothing of the backend's speed. Without Delivered it is 0.
func (a *Attempt) Delivered(now, rest time.Duration) {
	if !a.open {
		return
	}
	a.open = false
	if rest < 0 {
		return
	}
	s := a.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	if behind := uint32(s.written) - a.slot; behind <= min(ringSize, uint32(s.written-s.drained)) {
		x := &s.ring[a.slot%ringSize]
		x.part, x.rest = partWhole, rest
		return
	}
	s.write(sample{route: a.Route, at: now, took: a.answered, rest: rest, load: a.load, outcome: Success, part: partRest})
}

// End releases the place. It records o for an attempt that never saw a first byte; one
// that did keeps the outcome it had then, except that a transport failure in the middle
// of a body still counts against the backend. A second call does nothing.
func (a *Attempt) End(now time.Duration, o Outcome) {
	if a.ended || a.backend == nil {
		return
	}
	switch {
	case a.answered == 0:
		a.settle(now, o)
	case o == TransportFailure:
		a.backend.note(a, o)
	default:
		a.Delivered(now, 0)
	}
	a.ended = true
	b := a.backend
	b.inflight.Add(-1)
	b.pool.released(b)
}
