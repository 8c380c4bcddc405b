package testbed

import (
	"net/http"
	"time"
)

// SimPolicy chooses backends in virtual time; times are since the epoch. Each
// balancer has one, called from one goroutine.
type SimPolicy interface {
	// Pick chooses the backend of a request that is sent now. The token comes back
	// with Done. A negative backend refuses the request with 503.
	Pick(now time.Duration) (backend int, token any)
	// Done tells that the attempt ended: after ttfb from its sending, with an answer
	// below 500 when ok. An attempt given up by its client is not ok, unless the
	// policy has a method Canceled(token any, now time.Duration), called then.
	Done(token any, now, ttfb time.Duration, ok bool)
}

// simTicker is a policy that works on a tick as well.
type simTicker interface{ Tick(now time.Duration) }

// simCanceler is a policy that tells canceled attempts from failed ones.
type simCanceler interface {
	Canceled(token any, now time.Duration)
}

const defaultTick = 5 * time.Millisecond

// policyBalancer makes a balancer of a policy: one attempt at a time, tried again at
// once when it fails.
type policyBalancer struct {
	sim     *Sim
	policy  SimPolicy
	retries int
	tries   map[*SimRequest]int // failed attempts of open requests that have any
}

func newPolicyBalancer(s *Sim, cfg SimConfig, i int) *policyBalancer {
	b := &policyBalancer{sim: s, policy: cfg.Policy(i), retries: cfg.Retries, tries: map[*SimRequest]int{}}
	if t, ok := b.policy.(simTicker); ok {
		every := cfg.TickEvery
		if every <= 0 {
			every = defaultTick
		}
		var tick func()
		tick = func() {
			t.Tick(s.now)
			if s.now < s.horizon {
				s.After(every, tick)
			}
		}
		tick()
	}
	return b
}

func (b *policyBalancer) Arrive(r *SimRequest) {
	backend, token := b.policy.Pick(b.sim.now)
	if backend < 0 {
		delete(b.tries, r)
		b.sim.Fail(r, http.StatusServiceUnavailable)
		return
	}
	b.sim.Send(r, backend, token)
}

func (b *policyBalancer) Ended(a *SimAttempt) {
	now := b.sim.now
	if c, ok := b.policy.(simCanceler); ok && a.Outcome == SimCanceled {
		c.Canceled(a.Token, now)
	} else {
		b.policy.Done(a.Token, now, now-a.Sent, a.Outcome == SimAnswered)
	}
	r := a.Request
	if a.Outcome == SimAnswered || a.Outcome == SimCanceled || b.tries[r] >= b.retries {
		delete(b.tries, r)
		b.sim.Answer(a)
		return
	}
	b.tries[r]++
	b.Arrive(r)
}
