package analytics

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// engine is what runs while an App is started. It is made with the App and starts
// nothing before start.
type engine struct {
	app      *App
	provider StoreProvider
	sources  []*sourceRun
	steps    *stepList
	logger   *zap.Logger

	// Set by start.
	cancelSources context.CancelFunc // first of all: sources collect a last time
	cancel        context.CancelFunc
	finished      chan struct{}
	pipelines     []*pipelineRun
	groups        []*group
	history       *history

	mu      sync.Mutex
	phase   string // stopped, starting, running, stopping
	began   time.Time
	ended   time.Time
	store   store.Store
	trouble trouble

	analysis analysisRun
	analyses *analyses
}

// trouble is what went wrong beside collecting and evaluating.
type trouble struct {
	Panics     int64     `json:"panics"`
	LastPanic  string    `json:"last_panic,omitempty"`
	PanicAt    time.Time `json:"panic_at,omitzero"`
	ClockSteps int64     `json:"clock_steps"`
	LastStep   string    `json:"last_clock_step,omitempty"`
	StopError  string    `json:"stop_error,omitempty"`
}

const (
	phaseStopped  = "stopped"
	phaseStarting = "starting"
	phaseRunning  = "running"
	phaseDegraded = "degraded" // running, with something wrong
	phaseStopping = "stopping"
)

// Times that tests shorten.
var (
	// retryFirst and retryMost bound the pauses after a store could not be opened or a
	// source has ended; they double.
	retryFirst = time.Second
	retryMost  = time.Minute
	// stopPatience is how long the last collection and then the last flush may take.
	stopPatience = 10 * time.Second
	// wallClock is where the time of day enters.
	wallClock = time.Now
)

func newEngine(a *App, p StoreProvider, sources []Source) *engine {
	e := &engine{app: a, provider: p, steps: newSteps(), logger: a.logger, phase: phaseStopped}
	e.analyses = newAnalyses(analysisOptions{maxSeries: a.MaxSeries})
	for _, s := range sources {
		e.sources = append(e.sources, newSourceRun(e, s))
	}
	return e
}

// start begins to run, beside the caller.
func (e *engine) start() {
	began := e.steps.begin(stepPipelines)
	e.setUp(e.app.resolve(e.app.present))
	e.history = acquireHistory(e.app, e.pipelines)
	e.analyses.takeOver(e.history.analyses.Swap(e.analyses))
	e.steps.record(stepPipelines, began, nil)

	ctx, cancel := context.WithCancel(context.Background())
	collecting, cancelSources := context.WithCancel(ctx)
	e.cancel, e.cancelSources, e.finished = cancel, cancelSources, make(chan struct{})
	e.mu.Lock()
	e.phase, e.began = phaseStarting, time.Now()
	e.mu.Unlock()
	engines.add(e)
	go e.run(ctx, collecting)
}

// setUp makes the runs of pipelines, and groups those that are evaluated together.
func (e *engine) setUp(pipelines []*Pipeline) {
	byKey := make(map[groupKey]*group)
	for _, p := range pipelines {
		r := newPipelineRun(p)
		e.pipelines = append(e.pipelines, r)
		if len(p.Signals) == 0 {
			continue
		}
		key := groupKey{p.Source, time.Duration(p.Interval)}
		g := byKey[key]
		if g == nil {
			g = newGroup(e, key)
			byKey[key] = g
			e.groups = append(e.groups, g)
		}
		g.pipelines = append(g.pipelines, r)
	}
	for _, s := range e.sources {
		s.interval = time.Duration(e.app.CollectInterval)
		first := true
		for _, g := range e.groups {
			if g.source == s.name && (first || g.interval < s.interval) {
				s.interval, first = g.interval, false
			}
		}
		for _, g := range e.groups {
			if g.source == s.name {
				s.wakes = append(s.wakes, g.wake)
				g.follows = true
			}
		}
	}
}

// run opens the store, collects into it and evaluates what was collected, until ctx ends.
// collecting ends before ctx does.
func (e *engine) run(ctx, collecting context.Context) {
	defer close(e.finished)
	s, release := e.openStore(collecting)
	if s == nil {
		return
	}
	var collectors, loops sync.WaitGroup
	e.steps.begin(stepSources)
	for _, src := range e.sources {
		collectors.Go(func() { src.keepCollecting(collecting, s) })
	}
	loops.Go(func() {
		e.restore(collecting, s)
		for _, g := range e.groups {
			loops.Go(func() { g.loop(collecting, s) })
		}
		loops.Go(func() { e.analyze(collecting) })
		loops.Go(func() { e.watchClock(collecting) })
		e.setPhase(phaseStarting, phaseRunning)
	})
	<-collecting.Done()
	collectors.Wait()
	loops.Wait()
	e.finish(ctx, s, release)
}

// finish flushes and gives back the store.
func (e *engine) finish(ctx context.Context, s store.Store, release func() error) {
	flushing, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	if err := guard(func() error { return s.Flush(flushing) }); err != nil {
		e.stopProblem("flushing the store", err)
	}
	if err := guard(release); err != nil {
		e.stopProblem("closing the store", err)
	}
}

func (e *engine) stopProblem(doing string, err error) {
	e.logger.Error(doing, zap.Error(err))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.trouble.StopError = fmt.Sprintf("%s: %v", doing, err)
}

// stop ends everything: a last collection, a flush. It waits for that, but not for ever:
// what hangs is left behind.
func (e *engine) stop() {
	if e.cancel == nil {
		return
	}
	e.mu.Lock()
	e.phase = phaseStopping
	e.mu.Unlock()
	e.cancelSources()
	select {
	case <-e.finished:
	case <-time.After(2 * stopPatience):
		e.logger.Error("the last collection does not end; leaving it", zap.Duration("waited", 2*stopPatience))
	}
	e.cancel()
	engines.remove(e)
	releaseHistory(e.history)
	e.mu.Lock()
	e.phase, e.ended = phaseStopped, time.Now()
	e.mu.Unlock()
}

func (e *engine) setPhase(from, to string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.phase == from {
		e.phase = to
	}
}
