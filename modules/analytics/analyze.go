package analytics

import (
	"context"
	"sync"
	"time"
)

// analysisRun is how the runs of the analyses go.
type analysisRun struct {
	mu     sync.Mutex
	status AnalysisStatus
}

// AnalysisStatus is how the analyses go.
type AnalysisStatus struct {
	IntervalSeconds float64   `json:"interval_seconds"`
	Runs            uint64    `json:"runs"`
	Skipped         uint64    `json:"skipped"` // because the one before took too long
	Errors          uint64    `json:"errors"`
	LastRun         time.Time `json:"last_run,omitzero"`
	TookSeconds     float64   `json:"took_seconds"`
	Series          int       `json:"series"`
	Points          int       `json:"points"`
	LeftOut         int       `json:"left_out"` // series of which nothing can be said, or beyond the limit
	LastError       string    `json:"last_error,omitempty"`
	Next            time.Time `json:"next,omitzero"`
}

// analysisPoints is how far the analyses that run all the time look back.
const analysisPoints = 600

// analyze runs the analyses every interval until ctx ends. One that takes longer than the
// interval has the next left out, so that analysis gives way first when there is too much
// to do.
func (e *engine) analyze(ctx context.Context) {
	interval := time.Duration(e.app.AnalyzeInterval)
	next := time.Now().Add(interval)
	began := e.steps.begin(stepAnalyses)
	first := true
	for {
		e.analysis.update(func(s *AnalysisStatus) { s.IntervalSeconds, s.Next = interval.Seconds(), next })
		if !sleep(ctx, time.Until(next)) {
			return
		}
		at := time.Now()
		err := guard(func() error { return e.analyzeOnce(ctx, wallClock()) })
		if ctx.Err() != nil {
			return
		}
		e.notePanic("analyses", err)
		took := time.Since(at)
		var over uint64
		next, over = following(next, interval, at, took)
		e.finishAnalysis(at, took, over, err)
		if first && err == nil {
			e.steps.record(stepAnalyses, began, nil)
			first = false
		}
	}
}

// following returns when the analyses run next, after a run at a time that took so long,
// and how many runs that leaves out.
func following(due time.Time, interval time.Duration, at time.Time, took time.Duration) (next time.Time, left uint64) {
	next = due.Add(interval)
	if took > interval {
		for !next.After(at.Add(took)) {
			next, left = next.Add(interval), left+1
		}
		return next, max(left, 1)
	}
	for !next.After(at.Add(took)) { // the process was held up
		next = next.Add(interval)
	}
	return next, 0
}

func (e *engine) finishAnalysis(at time.Time, took time.Duration, over uint64, err error) {
	analysesRun.Inc()
	analysisSeconds.Add(took.Seconds())
	analysesSkipped.Add(float64(over))
	if err != nil {
		analysisErrors.Inc()
	}
	e.analysis.update(func(s *AnalysisStatus) {
		s.Runs++
		s.Skipped += over
		s.LastRun, s.TookSeconds, s.LastError = at, took.Seconds(), ""
		if err != nil {
			s.Errors++
			s.LastError = err.Error()
		}
	})
}

// analyzeOnce runs the analyses on what the windows have.
func (e *engine) analyzeOnce(ctx context.Context, at time.Time) error {
	f, infos := e.frame(at.Add(-analysisPoints*time.Duration(e.app.CollectInterval)), at)
	e.analysis.update(func(s *AnalysisStatus) { s.Series, s.Points = len(infos), f.Grid.N })
	err := e.analyses.run(ctx, f, infos, at)
	if m := e.analyses.matrix(); m != nil {
		e.analysis.update(func(s *AnalysisStatus) { s.LeftOut = m.Count })
	}
	return err
}

func (a *analysisRun) update(f func(*AnalysisStatus)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(&a.status)
}

func (a *analysisRun) snapshot() AnalysisStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}
