package testbed

import (
	"fmt"
	"net/http"
	"slices"
)

// simBackend is a station and its faults in virtual time.
type simBackend struct {
	sim     *Sim
	index   int
	workers int
	limit   int
	plan    *schedule
	serving []*SimAttempt
	queue   []*SimAttempt // FIFO
	waiting int           // those in queue that have not left
	counts  recorder
}

func newSimBackend(sim *Sim, index int, cfg BackendConfig) (*simBackend, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	plan, err := newSchedule(cfg.Speed, cfg.Faults)
	if err != nil {
		return nil, fmt.Errorf("backend %d: %w", index, err)
	}
	b := &simBackend{sim: sim, index: index, workers: cfg.Workers, limit: cfg.Queue, plan: plan}
	was := serving
	for _, seg := range plan.segments {
		if seg.kills() && seg.mode != was {
			sim.at(max(0, seg.from), func() { b.kill(seg.mode) })
		}
		was = seg.mode
	}
	return b, nil
}

// arrive is the request reaching the backend.
func (b *simBackend) arrive(a *SimAttempt) {
	seg := b.plan.at(b.sim.now)
	if a.ended || seg.mode == refusing || seg.mode == down {
		if !a.ended {
			b.sim.end(a, SimRefused, 0)
		}
		return
	}
	b.counts.arrival(b.sim.now)
	if hold := a.Request.Hold; hold > 0 && seg.mode == serving {
		b.sim.After(hold, func() { b.admit(a, b.plan.at(b.sim.now)) })
		return
	}
	b.admit(a, seg)
}

func (b *simBackend) admit(a *SimAttempt, seg segment) {
	switch {
	case a.ended:
		b.counts.s.Aborted++
	case seg.mode == failing:
		b.counts.s.Failed++
		b.sim.end(a, SimError, seg.code)
	case seg.mode == hanging:
		b.counts.s.Hung++ // no event will ever end it
	case seg.mode == resetting:
		b.counts.s.Reset++
		b.sim.end(a, SimReset, 0)
	case seg.mode != serving: // it was held when the port closed
		b.counts.s.Cut++
		b.sim.end(a, SimReset, 0)
	case len(b.serving) < b.workers:
		b.take(a)
	case b.waiting >= b.limit:
		b.counts.s.Failed++
		b.sim.end(a, SimError, http.StatusServiceUnavailable)
	default:
		a.stage = queued
		b.queue = append(b.queue, a)
		b.waiting++
	}
}

func (b *simBackend) take(a *SimAttempt) {
	a.stage = inService
	a.finish = b.plan.finish(b.sim.now, a.Request.Demand)
	b.serving = append(b.serving, a)
	if a.finish != forever {
		b.sim.at(a.finish, func() { b.complete(a) })
	}
}

func (b *simBackend) complete(a *SimAttempt) {
	if a.stage != inService {
		return
	}
	a.stage = gone
	b.serving = slices.DeleteFunc(b.serving, func(o *SimAttempt) bool { return o == a })
	if a.ended {
		b.counts.s.Aborted++
	} else {
		b.counts.s.Answered++
		b.sim.end(a, SimAnswered, http.StatusOK)
	}
	if next := b.pop(); next != nil {
		b.take(next)
	}
}

func (b *simBackend) pop() *SimAttempt {
	for len(b.queue) > 0 {
		a := b.queue[0]
		b.queue[0] = nil
		b.queue = b.queue[1:]
		if a.stage == queued {
			b.waiting--
			return a
		}
	}
	return nil
}

// leave is an attempt given up by its balancer, or at its end.
func (b *simBackend) leave(a *SimAttempt) {
	if a.stage == queued {
		a.stage = gone
		b.waiting--
		b.counts.s.Aborted++
	}
}

// kill takes down everything inside.
func (b *simBackend) kill(m mode) {
	inside := b.serving
	b.serving = nil
	for a := b.pop(); a != nil; a = b.pop() {
		inside = append(inside, a)
	}
	for _, a := range inside {
		a.stage = gone
		switch m {
		case hanging:
			b.counts.s.Hung++
		case resetting:
			b.counts.s.Reset++
			b.sim.end(a, SimReset, 0)
		default:
			b.counts.s.Cut++
			b.sim.end(a, SimReset, 0)
		}
	}
}
