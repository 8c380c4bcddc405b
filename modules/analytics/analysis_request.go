package analytics

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/correlate"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// CorrelateRequest asks for correlations over any window, at all lags. Zero values take
// the defaults.
type CorrelateRequest struct {
	Target  string  // tested, as y, against all others instead of all pairs
	Control string  // whose influence is taken out of all others first
	MaxLag  int     // in steps; default 60; correlate.LagZero for none
	Method  string  // normal-scores, pearson or spearman
	Level   float64 // default 0.05
	All     bool    // pairs that are not significant, too
	Limit   int     // pairs listed; default and at most 500
}

// CorrelateReport answers a CorrelateRequest.
type CorrelateReport struct {
	Summary     correlate.Summary `json:"summary"`
	TookSeconds float64           `json:"took_seconds"`
	Truncated   int               `json:"truncated"` // pairs beyond the limit
	Pairs       []PairReport      `json:"pairs"`     // surest first
}

// maxRequestWork bounds what one request may cost, in pairs of series times cells: 1,000
// series of 600 cells, which take about ten seconds of a processor.
const maxRequestWork = 1000 * 999 / 2 * 600

// errTooMuch is wrapped where a request asks for more than it may cost.
var errTooMuch = errors.New("too much to compare at once")

// onDemandWorkers leaves processors to the traffic.
func onDemandWorkers() int { return max(runtime.GOMAXPROCS(0)/2, 1) }

// correlateFrame answers a request. Errors of the caller wrap correlate.ErrOptions or
// errTooMuch.
func (s *analyses) correlateFrame(ctx context.Context, f *window.Frame, infos []SeriesInfo, q CorrelateRequest) (r *CorrelateReport, err error) {
	err = s.guard("correlation", func() error {
		r, err = s.correlateNow(ctx, f, infos, q)
		return err
	})
	return r, err
}

func (s *analyses) correlateNow(ctx context.Context, f *window.Frame, infos []SeriesInfo, q CorrelateRequest) (*CorrelateReport, error) {
	began := time.Now()
	o := correlate.Options{
		MaxLag: q.MaxLag, MaxSeries: s.opts.maxSeries, Level: q.Level, Target: q.Target, Control: q.Control, Workers: onDemandWorkers(),
	}
	if o.Level == 0 {
		o.Level = s.opts.level
	}
	if q.Method != "" {
		var err error
		if o.Method, err = correlate.ParseMethod(q.Method); err != nil {
			return nil, errors.Join(correlate.ErrOptions, err)
		}
	}
	n := min(len(f.Signals), s.opts.maxSeries)
	pairs := n * (n - 1) / 2
	if q.Target != "" {
		pairs = n
	}
	if pairs*f.Grid.N > maxRequestWork {
		return nil, fmt.Errorf("%w: %d pairs of series over %d steps; name a target or fewer signals, or take a shorter window or a larger step",
			errTooMuch, pairs, f.Grid.N)
	}
	a, err := correlate.Prepare(ctx, f, o)
	if err != nil {
		return nil, err
	}
	result, err := a.Lagged(ctx)
	if err != nil {
		return nil, err
	}
	limit := q.Limit
	if limit <= 0 || limit > maxReportPairs {
		limit = maxReportPairs
	}
	about := infosByName(infos)
	r := &CorrelateReport{Summary: result.Summary(), Pairs: []PairReport{}}
	all, listed := result.Significant(), result.Discoveries()
	if q.All {
		all, listed = result.All(), result.Len()
	}
	for p := range all {
		if len(r.Pairs) == limit {
			break
		}
		r.Pairs = append(r.Pairs, reportPair(p, about))
	}
	r.Truncated = listed - len(r.Pairs)
	r.TookSeconds = time.Since(began).Seconds()
	return r, nil
}

// ChangeReport is how one series differs between two windows.
type ChangeReport struct {
	correlate.Change
	Unit   string `json:"unit,omitempty"`
	Course Course `json:"course,omitempty"`
}

// CompareReport tells what changed between two windows, the surest change first.
type CompareReport struct {
	Baseline    correlate.Range `json:"baseline"`
	Focus       correlate.Range `json:"focus"`
	Level       float64         `json:"level"`
	TookSeconds float64         `json:"took_seconds"`
	Tests       int             `json:"tests"`
	Significant int             `json:"significant"`
	Truncated   int             `json:"truncated"` // changes beyond the limit
	Changes     []ChangeReport  `json:"changes"`
	leftOut
}

// compareFrame tells what changed between two windows of a frame that covers both. A limit
// of 0, or above 500, lists 500. Errors of the caller wrap correlate.ErrOptions.
func (s *analyses) compareFrame(ctx context.Context, f *window.Frame, infos []SeriesInfo, baseline, focus correlate.Range, level float64, limit int) (r *CompareReport, err error) {
	err = s.guard("comparison", func() error {
		r, err = s.compareNow(ctx, f, infos, baseline, focus, level, limit)
		return err
	})
	return r, err
}

func (s *analyses) compareNow(ctx context.Context, f *window.Frame, infos []SeriesInfo, baseline, focus correlate.Range, level float64, limit int) (*CompareReport, error) {
	began := time.Now()
	if level == 0 {
		level = s.opts.level
	}
	if limit <= 0 || limit > maxReportPairs {
		limit = maxReportPairs
	}
	f, left := bounded(f, s.opts.maxSeries)
	changes, err := correlate.Compare(ctx, f, baseline, focus, level)
	if err != nil {
		return nil, err
	}
	r := &CompareReport{Baseline: baseline, Focus: focus, Level: level, Changes: []ChangeReport{}, leftOut: reportLeftOut(left)}
	about := infosByName(infos)
	for _, c := range changes {
		if c.Verdict != correlate.NotEnoughData {
			r.Tests++
		}
		info := about[c.Name]
		out := ChangeReport{Change: c, Unit: info.Unit}
		if c.Verdict == correlate.Significant {
			r.Significant++
			out.Course = courseOf(info.Good, c.Effect)
		}
		if len(r.Changes) < limit {
			r.Changes = append(r.Changes, out)
		}
	}
	r.Truncated = len(changes) - len(r.Changes)
	r.TookSeconds = time.Since(began).Seconds()
	return r, nil
}
