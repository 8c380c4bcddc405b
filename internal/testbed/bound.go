package testbed

import (
	"fmt"
	"time"
)

// Clairvoyant returns what an all-knowing dispatcher reaches on a scenario: the
// reference that real balancers are held against. It takes the requests in order of
// arrival and gives each, then and for good, to the worker of the whole pool that
// completes it soonest.
//
// What it knows and no real balancer does: the demand of each request, the work before
// each worker, and the whole fault schedule, of the future as well. So it waits for a
// fast worker rather than take an idle slow one, starts nothing that a crash or a hang
// would take down or that is better begun elsewhere than caught in a pause, and keeps
// requests through a total outage to have them first in line when it ends. It pays no
// network, no parsing, no proxy. Workers are one pool: with several balancers it is
// one dispatcher all the same.
//
// What it does not do: reorder, preempt, split or duplicate. For equal workers without
// faults it is the queue G/G/c in order of arrival, which for exponential demands is
// M/M/c. It is no theorem that nothing goes below any one of its quantiles: choosing
// greedily can cost a later request, and serving short requests first would lower the
// median at the expense of the tail.
//
// A request that could not be completed within the client's patience is failed and
// takes no work. Virtual time; O(requests × backends × workers).
func Clairvoyant(s Scenario) (*Result, error) {
	plan, err := s.Load.Plan()
	if err != nil {
		return nil, err
	}
	s.Load = s.Load.withDefaults()
	pool := make([]oracle, len(s.Backends))
	for i, cfg := range s.Backends {
		if cfg, err = cfg.withDefaults(); err != nil {
			return nil, fmt.Errorf("scenario %s: %w", s.Name, err)
		}
		if pool[i].plan, err = newSchedule(cfg.Speed, cfg.Faults); err != nil {
			return nil, fmt.Errorf("scenario %s: backend %d: %w", s.Name, i, err)
		}
		pool[i].free = make([]time.Duration, cfg.Workers)
	}
	r := newResult(s.Load, plan)
	for _, req := range plan {
		best, at, worker := -1, forever, 0
		for i := range pool {
			if end, w := pool[i].soonest(req); end < at {
				best, at, worker = i, end, w
			}
		}
		if best < 0 || at > req.At+s.Load.Timeout {
			r.record(req, answer{failure: FailureTimeout}, s.Load.Timeout, 0, false)
			continue
		}
		if req.Demand > 0 {
			pool[best].free[worker] = at
		}
		r.record(req, answer{code: 200}, at-req.At, 0, false)
		r.Elapsed = max(r.Elapsed, at)
	}
	return r, nil
}

// oracle is a backend as the dispatcher sees it.
type oracle struct {
	plan *schedule
	free []time.Duration // when each worker has done what it was given
}

// soonest returns when the backend could complete a request, and by which worker.
func (o *oracle) soonest(req Request) (end time.Duration, worker int) {
	for i, t := range o.free {
		if t < o.free[worker] {
			worker = i
		}
	}
	ready := req.At + req.Hold
	return o.plan.complete(max(ready, o.free[worker]), req.Demand), worker
}

// complete returns the soonest end of work begun at from or later, at a moment when
// requests are accepted, that no fault takes down; forever when there is none.
func (s *schedule) complete(from, work time.Duration) time.Duration {
	for i := s.index(from); i < len(s.segments); i++ {
		if s.segments[i].mode != serving {
			continue
		}
		if end := s.finish(max(from, s.segments[i].from), work); end != forever {
			return end
		}
	}
	return forever
}
