package testbed

import (
	"container/heap"
	"errors"
	"fmt"
	"slices"
	"time"
)

// SimOutcome is how an attempt ended in simulation.
type SimOutcome int

// The outcomes of an attempt.
const (
	SimAnswered SimOutcome = iota + 1 // 200, after the work
	SimError                          // 5xx; the code is in SimAttempt.Code
	SimRefused                        // connection refused, nothing was sent
	SimReset                          // connection reset or closed without an answer
	SimCanceled                       // the client's patience ended
)

// SimBalancer is a balancer in virtual time. All calls come from one goroutine.
type SimBalancer interface {
	// Arrive hands over a request. Then or later the balancer sends it with
	// [Sim.Send], to one backend or to several.
	Arrive(r *SimRequest)
	// Ended tells of an attempt's end. The balancer passes the answer on with
	// [Sim.Answer], sends the request elsewhere, or gives up with [Sim.Fail]. After
	// SimCanceled the request is over.
	Ended(a *SimAttempt)
}

// SimRequest is a request in simulation.
type SimRequest struct {
	Request
	Index    int
	balancer SimBalancer
	attempts []*SimAttempt // those not ended
	over     bool
}

// Over reports whether the client has its answer or has gone away.
func (r *SimRequest) Over() bool { return r.over }

// SimAttempt is one request at one backend.
type SimAttempt struct {
	Request *SimRequest
	Backend int
	Sent    time.Duration // when the balancer sent it
	Outcome SimOutcome    // 0 before the end
	Code    int           // status of an answer, 0 without one
	Token   any           // for the balancer's own use
	stage   stage
	finish  time.Duration
	ended   bool
}

// SimConfig says what balances in a simulation: Policy or Balancer, not both.
type SimConfig struct {
	// Policy makes the policy of each of the scenario's balancers.
	Policy func(balancer int) SimPolicy
	// Retries is how often a Policy is asked again for a request whose attempt failed.
	Retries int
	// TickEvery is the period at which a policy that has a method Tick gets it called;
	// 5 ms when zero.
	TickEvery time.Duration
	// Balancer makes each balancer when a policy's one attempt at a time will not do.
	Balancer func(s *Sim, balancer int) SimBalancer
	// Delay is the time a message takes from balancer to backend, and back again.
	Delay time.Duration
}

// SimResult is what clients and backends of a simulation saw.
type SimResult struct {
	*Result
	Backends []Stats
}

// Sim is a simulation under way: the clock, the timers and the network of its
// balancers.
type Sim struct {
	now      time.Duration
	delay    time.Duration
	horizon  time.Duration // no request is open after it
	events   eventQueue
	sequence uint64
	backends []*simBackend
	result   *Result
	open     int // requests not over
}

// Simulate runs a scenario in virtual time: the plan, demands, queues and faults of a
// real run, without network and processors. Differences from a real backend: a
// connection takes no time to open, and arrivals refused are not counted, like a
// closed port's. O(n log n) for n attempts.
func Simulate(s Scenario, cfg SimConfig) (*SimResult, error) {
	if (cfg.Policy == nil) == (cfg.Balancer == nil) {
		return nil, errors.New("simulate: set one of Policy and Balancer")
	}
	plan, err := s.Load.Plan()
	if err != nil {
		return nil, err
	}
	s.Load = s.Load.withDefaults()
	sim := &Sim{
		delay: cfg.Delay, open: len(plan), result: newResult(s.Load, plan),
		horizon: s.Load.Duration + s.Load.Timeout,
	}
	for i, b := range s.Backends {
		backend, err := newSimBackend(sim, i, b)
		if err != nil {
			return nil, fmt.Errorf("scenario %s: %w", s.Name, err)
		}
		sim.backends = append(sim.backends, backend)
	}
	balancers := make([]SimBalancer, max(1, s.Balancers))
	for i := range balancers {
		if cfg.Balancer != nil {
			balancers[i] = cfg.Balancer(sim, i)
		} else {
			balancers[i] = newPolicyBalancer(sim, cfg, i)
		}
	}
	for i, req := range plan {
		r := &SimRequest{Request: req, Index: i, balancer: balancers[i%len(balancers)]}
		sim.at(req.At, func() { r.balancer.Arrive(r) })
		sim.at(req.At+s.Load.Timeout, func() { sim.abandon(r) })
	}
	for sim.open > 0 && sim.events.Len() > 0 {
		e := heap.Pop(&sim.events).(event)
		sim.now = e.at
		e.do()
	}
	sim.result.Elapsed = sim.now
	out := &SimResult{Result: sim.result}
	for _, b := range sim.backends {
		out.Backends = append(out.Backends, b.counts.snapshot())
	}
	return out, nil
}

// Now returns the virtual time since the epoch.
func (s *Sim) Now() time.Duration { return s.now }

// Backends returns the number of backends.
func (s *Sim) Backends() int { return len(s.backends) }

// After calls f when d has passed. Of events at one moment, the one set first comes
// first.
func (s *Sim) After(d time.Duration, f func()) { s.at(s.now+max(0, d), f) }

// Send sends a request to a backend.
func (s *Sim) Send(r *SimRequest, backend int, token any) *SimAttempt {
	a := &SimAttempt{Request: r, Backend: backend, Sent: s.now, Token: token}
	r.attempts = append(r.attempts, a)
	s.After(s.delay, func() { s.backends[backend].arrive(a) })
	return a
}

// Cancel gives an attempt up, as a proxy does that closes the connection; Ended is not
// called for it. If a worker has taken it up, the worker finishes it all the same.
func (s *Sim) Cancel(a *SimAttempt) {
	if a.ended {
		return
	}
	a.ended, a.Outcome = true, SimCanceled
	s.backends[a.Backend].leave(a)
	r := a.Request
	for i, other := range r.attempts {
		if other == a {
			r.attempts = append(r.attempts[:i], r.attempts[i+1:]...)
			break
		}
	}
}

// Answer passes the answer of an attempt that ended on to the client. Other attempts
// at the request stay open until the balancer cancels them.
func (s *Sim) Answer(a *SimAttempt) {
	got := answer{code: a.Code}
	if a.Code == 0 {
		got.code = 502
	}
	s.finish(a.Request, got)
}

// Fail answers the client with a status of the balancer's own, such as 503.
func (s *Sim) Fail(r *SimRequest, code int) { s.finish(r, answer{code: code}) }

func (s *Sim) finish(r *SimRequest, got answer) {
	if r.over {
		return
	}
	r.over = true
	s.open--
	s.result.record(r.Request, got, s.now-r.At, 0, false)
}

// abandon is the client's patience coming to its end.
func (s *Sim) abandon(r *SimRequest) {
	if r.over {
		return
	}
	s.finish(r, answer{failure: FailureTimeout})
	for _, a := range slices.Clone(r.attempts) {
		s.Cancel(a)
		r.balancer.Ended(a)
	}
}

// end tells the balancer, after the way back, of an attempt's end.
func (s *Sim) end(a *SimAttempt, o SimOutcome, code int) {
	s.After(s.delay, func() {
		if a.ended {
			return
		}
		s.Cancel(a) // takes it off the request
		a.Outcome, a.Code = o, code
		a.Request.balancer.Ended(a)
	})
}

func (s *Sim) at(t time.Duration, f func()) {
	s.sequence++
	heap.Push(&s.events, event{at: t, sequence: s.sequence, do: f})
}

// event is something to do at a moment.
type event struct {
	at       time.Duration
	sequence uint64
	do       func()
}

// eventQueue is a heap of events by time, then by order of setting.
type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].sequence < q[j].sequence
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return e
}
