package analytics

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

const (
	// restoreChunk is how many steps are asked for at a time, restoreTime how long all of
	// it may take. It works half of the time at the most, so that it is hardly felt.
	restoreChunk = 500
	restoreTime  = time.Minute
)

// restore fills the windows with what the store has, the oldest first. Windows that came
// over a reload have it already.
func (e *engine) restore(ctx context.Context, s store.Store) {
	h := e.history
	oldest := s.Status().Oldest
	now := time.Now()
	var empty []*group
	for _, g := range e.groups {
		r := h.window(g.interval)
		r.mu.Lock()
		if r.fresh {
			empty = append(empty, g)
		}
		r.mu.Unlock()
	}
	if len(empty) == 0 || oldest.IsZero() || now.Sub(oldest) < time.Second {
		e.steps.skip(stepHistory)
		return
	}
	began := e.steps.begin(stepHistory)
	limited, cancel := context.WithTimeout(ctx, restoreTime)
	defer cancel()
	var first error
	for _, g := range empty {
		if err := guard(func() error { return g.restore(limited, s, h, oldest, now) }); err != nil && first == nil {
			first = err
		}
	}
	if ctx.Err() != nil {
		return
	}
	e.notePanic("filling the windows", first)
	if first != nil {
		first = fmt.Errorf("the windows begin with less than the store has: %w", first)
	}
	e.steps.record(stepHistory, began, first)
}

func (g *group) restore(ctx context.Context, s store.Store, h *history, oldest, now time.Time) error {
	from := now.Add(-time.Duration(h.points-1) * g.interval)
	if from.Before(oldest) {
		// On the grid that ends now.
		from = now.Add(-now.Sub(oldest) / g.interval * g.interval)
	}
	for ; !from.After(now); from = from.Add(restoreChunk * g.interval) {
		to := from.Add((restoreChunk - 1) * g.interval)
		if to.After(now) {
			to = now
		}
		for _, p := range g.pipelines {
			for _, sig := range p.signals {
				began := time.Now()
				if err := sig.restore(ctx, s, h.window(g.interval), from, to); err != nil {
					return fmt.Errorf("signal %s of pipeline %s: %w", sig.Name, p.Name, err)
				}
				if !sleep(ctx, time.Since(began)) {
					return ctx.Err()
				}
			}
		}
	}
	return nil
}

// restore puts what the store has of the signal into the window.
func (s *signalRun) restore(ctx context.Context, st store.Store, r *ring, from, to time.Time) error {
	m, _, err := st.Range(ctx, s.expr, from, to, r.step)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range m {
		series := r.series(describe(&s.Signal, x.Metric))
		for _, p := range x.Floats {
			if !r.put(series, time.UnixMilli(p.T), p.F) {
				break
			}
		}
	}
	return nil
}
