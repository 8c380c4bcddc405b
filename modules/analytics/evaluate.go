package analytics

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/prometheus/promql"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

type groupKey struct {
	source   string
	interval time.Duration
}

// group is the pipelines of one source and interval. They are evaluated one after the
// other, in their order, right after a collection: so each point has what was just
// collected, and no collection counts twice.
type group struct {
	engine *engine
	groupKey
	pipelines []*pipelineRun
	follows   bool          // the source tells of its collections
	wake      chan struct{} // it has
}

func newGroup(e *engine, key groupKey) *group {
	return &group{engine: e, groupKey: key, wake: make(chan struct{}, 1)}
}

// pipelineRun is a pipeline at work.
type pipelineRun struct {
	*Pipeline
	signals []*signalRun

	mu          sync.Mutex
	runs        uint64
	errors      uint64
	lastRun     time.Time
	took        time.Duration
	samples     int // of the last run
	total       uint64
	leftOut     int
	lastError   string
	lastErrorAt time.Time
}

// signalRun is a signal at work.
type signalRun struct {
	Signal
	expr string // expanded

	mu      sync.Mutex
	at      time.Time
	took    time.Duration
	values  []currentValue
	err     string
	series  map[string]*series // by the labels' bytes
	scratch []byte
}

type currentValue struct {
	series *series
	value  float64
}

func newPipelineRun(p *Pipeline) *pipelineRun {
	r := &pipelineRun{Pipeline: p}
	for _, s := range p.Signals {
		r.signals = append(r.signals, &signalRun{Signal: s, expr: expand(s.Expr, time.Duration(p.Interval)), series: make(map[string]*series)})
	}
	return r
}

// loop evaluates the group after each collection, and every interval at the least, until
// ctx ends.
func (g *group) loop(ctx context.Context, s store.Store) {
	// A source of a shorter interval wakes more often than the group is to be evaluated.
	const early = .75
	var last time.Time
	fallback := g.interval
	if g.follows {
		fallback = g.interval * 3 / 2
	}
	timer := time.NewTimer(fallback)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-g.wake:
			if !last.IsZero() && time.Since(last) < time.Duration(early*float64(g.interval)) {
				continue
			}
		}
		last = time.Now()
		g.evaluate(ctx, s, wallClock())
		timer.Reset(max(fallback-time.Since(last), 0))
	}
}

// evaluate evaluates every signal of the group at one time.
func (g *group) evaluate(ctx context.Context, s store.Store, at time.Time) {
	for _, p := range g.pipelines {
		err := p.evaluate(ctx, s, g.engine.history, at)
		if ctx.Err() != nil {
			return
		}
		g.engine.notePanic("pipeline "+p.Name, err)
		p.finish(err)
	}
}

// evaluate evaluates the pipeline's signals into the history. A signal that fails does not
// keep the others from it.
func (p *pipelineRun) evaluate(ctx context.Context, s store.Store, h *history, at time.Time) error {
	began := time.Now()
	defer func() {
		took := time.Since(began)
		evaluations.WithLabelValues(p.Name).Inc()
		evaluationSeconds.WithLabelValues(p.Name).Add(took.Seconds())
		p.mu.Lock()
		p.runs++
		p.lastRun, p.took = at, took
		p.mu.Unlock()
	}()
	var failures signalFailures
	samples, leftOut := 0, 0
	for _, sig := range p.signals {
		err := guard(func() error {
			n, out, err := sig.evaluate(ctx, s, h, time.Duration(p.Interval), at)
			samples, leftOut = samples+n, leftOut+out
			return err
		})
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			failures.add(sig.Name, err)
		}
	}
	p.mu.Lock()
	p.samples, p.leftOut = samples, leftOut
	p.total += uint64(samples)
	p.mu.Unlock()
	return failures.join()
}

// signalFailures are what went wrong in the signals of a pipeline. A store that is away
// fails all of them alike, and says so once.
type signalFailures struct {
	names map[string][]string // by what the errors say
	errs  []error             // one of each
}

func (f *signalFailures) add(name string, err error) {
	text := err.Error()
	if f.names == nil {
		f.names = make(map[string][]string)
	}
	if f.names[text] == nil {
		f.errs = append(f.errs, err)
	}
	f.names[text] = append(f.names[text], name)
}

func (f *signalFailures) join() error {
	const named = 3
	all := make([]error, len(f.errs))
	for i, err := range f.errs {
		switch names := f.names[err.Error()]; {
		case len(names) == 1:
			all[i] = fmt.Errorf("signal %s: %w", names[0], err)
		case len(names) <= named:
			all[i] = fmt.Errorf("signals %s: %w", strings.Join(names, ", "), err)
		default:
			all[i] = fmt.Errorf("signals %s and %d more: %w", strings.Join(names[:named-1], ", "), len(names)-named+1, err)
		}
	}
	return errors.Join(all...)
}

func (p *pipelineRun) finish(err error) {
	if err == nil {
		p.mu.Lock()
		p.lastError = ""
		p.mu.Unlock()
		return
	}
	evaluationErrors.WithLabelValues(p.Name).Inc()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errors++
	p.lastError, p.lastErrorAt = err.Error(), time.Now()
}

// evaluate evaluates the signal and puts its values into the history. It returns how many
// there were, and for how many of them there was no place.
func (s *signalRun) evaluate(ctx context.Context, st store.Store, h *history, step time.Duration, at time.Time) (n, leftOut int, err error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, max(step, 5*time.Second))
	defer cancel()
	vector, _, err := st.Instant(ctx, s.expr, at)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.took, s.values, s.err = at, time.Since(began), s.values[:0], ""
	if err != nil {
		s.err = err.Error()
		return 0, 0, err
	}
	w := h.window(step)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range vector {
		if vector[i].H != nil {
			err = errHistogram
			continue
		}
		x := s.find(w, &vector[i])
		if !w.put(x, at, vector[i].F) {
			leftOut++
			continue
		}
		n++
		s.values = append(s.values, currentValue{x, vector[i].F})
	}
	if err != nil {
		s.err = err.Error()
	}
	return n, leftOut, err
}

var errHistogram = errors.New("its PromQL gives histograms: take histogram_quantile or histogram_avg of them")

// find returns the series of a sample. The caller holds the locks of the signal and of w.
func (s *signalRun) find(w *ring, sample *promql.Sample) *series {
	s.scratch = sample.Metric.Bytes(s.scratch)
	if x := s.series[string(s.scratch)]; x != nil {
		return x
	}
	x := w.series(describe(&s.Signal, sample.Metric))
	if len(s.series) >= mostRemembered {
		clear(s.series) // of series that come and go; those that are there come again
	}
	s.series[string(s.scratch)] = x
	return x
}
