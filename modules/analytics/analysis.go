package analytics

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/correlate"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// analysisOptions bound the analyses. Zero values take the defaults.
type analysisOptions struct {
	// maxSeries is how many series are compared with one another; default 1,000. Of more,
	// those that vary come first, then those with the fewest gaps, then the name decides.
	maxSeries int
	// maxPairs is how many pairs of balancer and network are compared over all lags each
	// time; default 10,000.
	maxPairs int
	// level is the false discovery rate; default 0.05.
	level float64
}

// mostAnalysedSeries bounds maxSeries: all pairs of as many take 60 MB.
const mostAnalysedSeries = 2000

// Bounds of what a report lists. What is beyond is counted.
const (
	maxReportPairs = 500
	maxReportLeft  = 50
)

// How often the slower analyses run.
const (
	laggedEvery = time.Minute
	// trendsEvery is for every 200 series: a trend takes about a millisecond.
	trendsEvery       = time.Minute
	trendsEverySeries = 200
)

// analyses are what runs over and over on the windows: the matrix of all pairs, kept
// current from cell to cell; the balancer against the network over all lags; trends.
// Reports are never changed once they are out, so that readers wait for nobody.
type analyses struct {
	opts analysisOptions

	running    sync.Mutex // one run at a time; guards what follows
	live       liveMatrix
	laggedNext time.Time
	trendsNext time.Time

	matrixNow atomic.Pointer[MatrixReport]
	laggedNow atomic.Pointer[LaggedReport]
	trendsNow atomic.Pointer[TrendsReport]
	panics    atomic.Uint64
	bytes     atomic.Int64 // of the matrix and its report
}

func newAnalyses(o analysisOptions) *analyses {
	if o.maxSeries == 0 {
		o.maxSeries = correlate.DefaultMaxSeries
	}
	o.maxSeries = max(min(o.maxSeries, mostAnalysedSeries), 2)
	if o.maxPairs == 0 {
		o.maxPairs = 10000
	}
	if o.level == 0 {
		o.level = correlate.DefaultLevel
	}
	return &analyses{opts: o}
}

// takeOver begins with the reports of those that ran before on the same windows, so that a
// reload leaves none missing.
func (s *analyses) takeOver(from *analyses) {
	if from == nil {
		return
	}
	s.matrixNow.CompareAndSwap(nil, from.matrixNow.Load())
	s.laggedNow.CompareAndSwap(nil, from.laggedNow.Load())
	s.trendsNow.CompareAndSwap(nil, from.trendsNow.Load())
}

// run brings the reports up to date with a frame and what its series are. Where one
// analysis fails or panics, the others go on and its last report stays.
func (s *analyses) run(ctx context.Context, f *window.Frame, infos []SeriesInfo, now time.Time) error {
	s.running.Lock()
	defer s.running.Unlock()
	if err := s.guard("frame", func() error { f = settled(f); return nil }); err != nil {
		return err
	}
	about := infosByName(infos)
	errs := []error{s.guard("matrix", func() error { return s.updateMatrix(ctx, f, about, now) })}
	if errs[0] != nil {
		s.live = liveMatrix{} // in an unknown state
	}
	s.bytes.Store(s.matrixBytes())
	if !now.Before(s.laggedNext) || s.laggedNext.Sub(now) > laggedEvery { // the clock may have been set
		s.laggedNext = now.Add(laggedEvery)
		errs = append(errs, s.guard("balancer and network", func() error { return s.updateLagged(ctx, f, infos, now) }))
	}
	every := trendsEvery * time.Duration(1+len(f.Signals)/trendsEverySeries)
	if !now.Before(s.trendsNext) || s.trendsNext.Sub(now) > every {
		s.trendsNext = now.Add(every)
		errs = append(errs, s.guard("trends", func() error { return s.updateTrends(ctx, f, about, now) }))
	}
	return errors.Join(errs...)
}

// matrixBytes is what the matrix and its report take in memory.
func (s *analyses) matrixBytes() (b int64) {
	if s.live.Live != nil {
		b = s.live.Bytes()
	}
	if r := s.matrixNow.Load(); r != nil {
		b += 4 * int64(len(r.R)) * int64(len(r.R))
	}
	return b
}

// guard counts panics, and names what failed.
func (s *analyses) guard(what string, f func() error) error {
	err := guard(f)
	var p *panicked
	if errors.As(err, &p) {
		s.panics.Add(1)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// matrix, lagged and trends return the newest reports, nil before the first.
func (s *analyses) matrix() *MatrixReport { return s.matrixNow.Load() }
func (s *analyses) lagged() *LaggedReport { return s.laggedNow.Load() }
func (s *analyses) trends() *TrendsReport { return s.trendsNow.Load() }

// panicCount is how often an analysis panicked.
func (s *analyses) panicCount() uint64 { return s.panics.Load() }

// settled is a frame without its newest cell, which not every pipeline may have filled yet.
func settled(f *window.Frame) *window.Frame {
	if f.Grid.N < 2 {
		return f
	}
	return f.Slice(f.Grid.Start, f.Grid.Time(f.Grid.N-2))
}

func infosByName(infos []SeriesInfo) map[string]SeriesInfo {
	about := make(map[string]SeriesInfo, len(infos))
	for _, i := range infos {
		about[i.Name] = i
	}
	return about
}
