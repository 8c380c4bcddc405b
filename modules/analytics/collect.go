package analytics

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/prometheus/storage"
	"go.uber.org/zap"
)

// sourceRun collects from one source.
type sourceRun struct {
	engine   *engine
	source   Source
	name     string
	interval time.Duration
	wakes    []chan struct{} // of groups that are evaluated after a collection

	mu      sync.Mutex
	status  SourceStatus
	targets map[string]*targetState
	began   time.Time
}

// SourceStatus is the state of a source.
type SourceStatus struct {
	Name            string  `json:"name"`
	State           string  `json:"state"` // waiting, up, down
	IntervalSeconds float64 `json:"interval_seconds"`
	Targets         int     `json:"targets"`
	TargetsDown     int     `json:"targets_down"`
	// Of all its targets.
	Collections uint64    `json:"collections"`
	Samples     uint64    `json:"samples"`
	Errors      uint64    `json:"errors"`
	LastRun     time.Time `json:"last_run,omitzero"`
	TookSeconds float64   `json:"took_seconds"`
	LastSamples int       `json:"last_samples"`
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	Next        time.Time `json:"next,omitzero"`
	Restarts    uint64    `json:"restarts"` // times it ended without being asked to
}

type targetState struct {
	failing string
	seen    time.Time
}

// mostTargets bounds what is remembered of a source's targets.
const mostTargets = 10000

func newSourceRun(e *engine, s Source) *sourceRun {
	return &sourceRun{engine: e, source: s, name: s.Name(),
		status: SourceStatus{Name: s.Name(), State: waiting}, targets: make(map[string]*targetState)}
}

// keepCollecting runs the source until ctx ends. One that fails or panics is started anew.
func (s *sourceRun) keepCollecting(ctx context.Context, to storage.AppendableV2) {
	s.mu.Lock()
	s.began = time.Now()
	s.mu.Unlock()
	for pause := retryFirst; ; {
		began := time.Now()
		err := guard(func() error { return s.source.Run(ctx, to, s.interval, s.note) })
		if ctx.Err() != nil {
			if err != nil && !errors.Is(err, context.Canceled) {
				s.engine.stopProblem("collecting from "+s.name+" a last time", err)
			}
			return
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		s.engine.notePanic("source "+s.name, err)
		s.engine.logger.Error("source has ended, starting it anew", zap.String("source", s.name), zap.Error(err))
		s.ended(err)
		if time.Since(began) > retryMost {
			pause = retryFirst
		}
		if !sleep(ctx, jitter(pause)) {
			return
		}
		pause = min(2*pause, retryMost)
	}
}

func (s *sourceRun) ended(err error) {
	collectionErrors.WithLabelValues(s.name).Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Restarts++
	s.status.Errors++
	s.status.State, s.status.LastError, s.status.LastErrorAt = "down", err.Error(), time.Now()
}

// note takes in the outcome of a collection and has the pipelines evaluated that depend on
// it.
func (s *sourceRun) note(c Collection) {
	collections.WithLabelValues(s.name).Inc()
	collectionSeconds.WithLabelValues(s.name).Add(c.Took.Seconds())
	collectedSamples.WithLabelValues(s.name).Add(float64(max(c.Samples, 0)))
	if c.Err != nil {
		collectionErrors.WithLabelValues(s.name).Inc()
	}
	s.mu.Lock()
	first := s.status.Collections == 0
	t := s.targets[c.Target]
	if t == nil && len(s.targets) < mostTargets {
		t = new(targetState)
		s.targets[c.Target] = t
	}
	if t != nil {
		t.seen, t.failing = c.At, ""
		if c.Err != nil {
			t.failing = c.Err.Error()
		}
	}
	st := &s.status
	st.Collections++
	st.Samples += uint64(max(c.Samples, 0))
	st.LastRun, st.TookSeconds, st.LastSamples = c.At, c.Took.Seconds(), c.Samples
	if c.Err != nil {
		st.Errors++
		st.LastErrorAt = c.At
		st.LastError = c.Err.Error()
		if c.Target != "" {
			st.LastError = fmt.Sprintf("%s: %v", c.Target, c.Err)
		}
	}
	s.mu.Unlock()
	for _, wake := range s.wakes {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	if first {
		s.engine.sourceCame()
	}
}

// sourceCame ends the step of the start in which sources are collected from for the first
// time.
func (e *engine) sourceCame() {
	for _, s := range e.sources {
		if s.snapshot(time.Now()).Collections == 0 {
			return
		}
	}
	e.steps.change(stepSources, func(s *Step) {
		if s.State == running {
			s.State, s.TookSeconds = done, time.Since(s.At).Seconds()
		}
	})
}

// snapshot returns how the source is doing.
func (s *sourceRun) snapshot(now time.Time) SourceStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.IntervalSeconds = s.interval.Seconds()
	for name, t := range s.targets {
		if now.Sub(t.seen) > 3*s.interval+time.Minute {
			delete(s.targets, name) // it has gone
			continue
		}
		st.Targets++
		if t.failing != "" {
			st.TargetsDown++
		}
	}
	if last := st.LastRun; !last.IsZero() || !s.began.IsZero() {
		if last.IsZero() {
			last = s.began
		}
		st.Next = last.Add(s.interval)
		switch {
		case now.Sub(last) > 3*s.interval:
			st.State = "down"
			st.LastError = fmt.Sprintf("nothing was collected for %v: what is collected from does not answer", now.Sub(last).Round(time.Second))
		case st.LastErrorAt.After(last), st.Targets > 0 && st.TargetsDown == st.Targets:
			st.State = "down"
		case st.Collections > 0:
			st.State = "up"
		}
	}
	return st
}
