package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// queries answers PromQL over whatever holds the samples in this process.
type queries struct {
	with atomic.Pointer[querySet]
	data storage.Queryable
	// enter keeps the store open while a query runs, and ends the query when it closes.
	enter func(context.Context) (ctx context.Context, leave func(), err error)
}

// querySet is an engine with the limits it was made for.
type querySet struct {
	QueryOptions
	engine *promql.Engine
}

func newQueries(opts QueryOptions, data storage.Queryable, logger *slog.Logger,
	enter func(context.Context) (context.Context, func(), error),
) *queries {
	q := &queries{data: data, enter: enter}
	q.limit(opts, logger)
	return q
}

// limit changes the limits for the queries to come.
func (q *queries) limit(opts QueryOptions, logger *slog.Logger) {
	opts = opts.withDefaults()
	if old := q.with.Load(); old != nil && old.QueryOptions == opts {
		return
	}
	q.with.Store(&querySet{opts, promql.NewEngine(promql.EngineOpts{
		Logger:               logger,
		MaxSamples:           opts.MaxSamples,
		Timeout:              opts.Timeout,
		LookbackDelta:        opts.Lookback,
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 {
			return time.Minute.Milliseconds()
		},
		Parser: parser.NewParser(parser.Options{}),
	})})
}

// Instant implements Querier.
func (q *queries) Instant(ctx context.Context, expr string, at time.Time) (v promql.Vector, notes annotations.Annotations, err error) {
	notes, err = q.instant(ctx, expr, at, func(value parser.Value) error {
		switch value := value.(type) {
		case promql.Vector:
			v = slices.Clone(value)
		case promql.Scalar:
			v = promql.Vector{{T: value.T, F: value.V}}
		default:
			return fmt.Errorf("%w: the expression gives a %s: take a vector or a number", ErrBadQuery, value.Type())
		}
		return nil
	})
	return v, notes, err
}

// Ranges implements Querier.
func (q *queries) Ranges(ctx context.Context, expr string, at time.Time) (m promql.Matrix, notes annotations.Annotations, err error) {
	notes, err = q.instant(ctx, expr, at, func(value parser.Value) error {
		ranges, ok := value.(promql.Matrix)
		if !ok {
			return fmt.Errorf("%w: the expression gives a %s and no ranges", ErrBadQuery, value.Type())
		}
		m = cloneMatrix(ranges)
		return nil
	})
	return m, notes, err
}

// instant evaluates expr at one time. The value is take's until that returns.
func (q *queries) instant(ctx context.Context, expr string, at time.Time, take func(parser.Value) error) (annotations.Annotations, error) {
	ctx, leave, err := q.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	query, err := q.with.Load().engine.NewInstantQuery(ctx, q.data, nil, expr, at)
	if err != nil {
		return nil, queryError(ctx, err)
	}
	defer query.Close()
	result := query.Exec(ctx)
	if result.Err != nil {
		return result.Warnings, queryError(ctx, result.Err)
	}
	return result.Warnings, take(result.Value)
}

// Range implements Querier.
func (q *queries) Range(ctx context.Context, expr string, from, to time.Time, step time.Duration) (promql.Matrix, annotations.Annotations, error) {
	if err := q.with.Load().checkRange(from, to, step); err != nil {
		return nil, nil, err
	}
	ctx, leave, err := q.enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer leave()
	query, err := q.with.Load().engine.NewRangeQuery(ctx, q.data, nil, expr, from, to, step)
	if err != nil {
		return nil, nil, queryError(ctx, err)
	}
	defer query.Close()
	result := query.Exec(ctx)
	if result.Err != nil {
		return nil, result.Warnings, queryError(ctx, result.Err)
	}
	m, ok := result.Value.(promql.Matrix)
	if !ok {
		return nil, result.Warnings, fmt.Errorf("%w: the expression gives a %s: take a vector or a number", ErrBadQuery, result.Value.Type())
	}
	return cloneMatrix(m), result.Warnings, nil
}

// cloneMatrix copies what the engine takes back when a query is closed.
func cloneMatrix(m promql.Matrix) promql.Matrix {
	out := make(promql.Matrix, len(m))
	for i, s := range m {
		out[i] = promql.Series{Metric: s.Metric, Floats: slices.Clone(s.Floats), DropName: s.DropName}
		for _, h := range s.Histograms {
			out[i].Histograms = append(out[i].Histograms, promql.HPoint{T: h.T, H: h.H.Copy()})
		}
	}
	return out
}

// LabelNames implements Querier.
func (q *queries) LabelNames(ctx context.Context, from, to time.Time, limit int, matchers ...[]*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.labels(ctx, from, to, limit, matchers, func(ctx context.Context, data storage.Querier, hints *storage.LabelHints, ms []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return data.LabelNames(ctx, hints, ms...)
	})
}

// LabelValues implements Querier.
func (q *queries) LabelValues(ctx context.Context, name string, from, to time.Time, limit int, matchers ...[]*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.labels(ctx, from, to, limit, matchers, func(ctx context.Context, data storage.Querier, hints *storage.LabelHints, ms []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return data.LabelValues(ctx, name, hints, ms...)
	})
}

// labels is the union of what each list of matchers gives.
func (q *queries) labels(ctx context.Context, from, to time.Time, limit int, matchers [][]*labels.Matcher,
	read func(context.Context, storage.Querier, *storage.LabelHints, []*labels.Matcher) ([]string, annotations.Annotations, error),
) ([]string, annotations.Annotations, error) {
	ctx, data, leave, err := q.open(ctx, from, to)
	if err != nil {
		return nil, nil, err
	}
	defer leave()
	if len(matchers) == 0 {
		matchers = [][]*labels.Matcher{nil}
	}
	hints := &storage.LabelHints{Limit: limit, LimitSmallest: limit > 0}
	var all []string
	var warnings annotations.Annotations
	for _, ms := range matchers {
		got, w, err := read(ctx, data, hints, ms)
		warnings.Merge(w)
		if err != nil {
			return nil, warnings, queryError(ctx, err)
		}
		// The strings may point into mapped files that are gone after Close.
		for _, s := range got {
			all = append(all, string([]byte(s)))
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if limit > 0 && len(all) > limit {
		all = all[:limit]
	}
	return all, warnings, nil
}

// Series implements Querier.
func (q *queries) Series(ctx context.Context, from, to time.Time, limit int, matchers ...[]*labels.Matcher) ([]labels.Labels, annotations.Annotations, error) {
	ctx, data, leave, err := q.open(ctx, from, to)
	if err != nil {
		return nil, nil, err
	}
	defer leave()
	if len(matchers) == 0 {
		matchers = [][]*labels.Matcher{{labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".+")}}
	}
	hints := &storage.SelectHints{Start: from.UnixMilli(), End: to.UnixMilli(), Limit: limit, Func: "series"}
	sets := make([]storage.SeriesSet, 0, len(matchers))
	for _, ms := range matchers {
		sets = append(sets, data.Select(ctx, true, hints, ms...))
	}
	set := storage.NewMergeSeriesSet(sets, limit, storage.ChainedSeriesMerge)
	var out []labels.Labels
	for set.Next() {
		out = append(out, set.At().Labels().Copy())
		if limit > 0 && len(out) >= limit {
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, set.Warnings(), queryError(ctx, err)
		}
	}
	return out, set.Warnings(), queryError(ctx, set.Err())
}

// open reads from the data without PromQL, within the same limit of time.
func (q *queries) open(ctx context.Context, from, to time.Time) (context.Context, storage.Querier, func(), error) {
	ctx, leave, err := q.enter(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	data, err := q.data.Querier(from.UnixMilli(), to.UnixMilli())
	if err != nil {
		leave()
		return nil, nil, nil, fmt.Errorf("reading the store: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, q.with.Load().Timeout)
	return ctx, data, func() {
		cancel()
		_ = data.Close()
		leave()
	}, nil
}

// checkRange turns away ranges that make no sense or have too many points.
func (o QueryOptions) checkRange(from, to time.Time, step time.Duration) error {
	if step < time.Millisecond {
		return fmt.Errorf("%w: the step is %v: it must be at least 1ms", ErrBadQuery, step)
	}
	if to.Before(from) {
		return fmt.Errorf("%w: the range ends before it begins", ErrBadQuery)
	}
	// As in Prometheus the first point is not counted: Grafana goes to this limit.
	if points := int64(to.Sub(from) / step); points > int64(o.MaxPoints) {
		return fmt.Errorf("%w: %d points, and at most %d are given: take a longer step or a shorter range", ErrLimit, points, o.MaxPoints)
	}
	return nil
}

// queryError sorts the engine's errors into too large, too slow and wrong.
func queryError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var (
		samples promql.ErrTooManySamples
		timeout promql.ErrQueryTimeout
		cancel  promql.ErrQueryCanceled
		parse   parser.ParseErrors
	)
	switch {
	case errors.Is(err, ErrLimit), errors.Is(err, ErrClosed), errors.Is(err, ErrBadQuery):
		return err
	case errors.As(err, &samples):
		return fmt.Errorf("%w: too many samples: take fewer series, a shorter range or a longer step: %w", ErrLimit, err)
	case errors.As(err, &cancel):
		if cause := context.Cause(ctx); cause != nil {
			return fmt.Errorf("the query was given up: %w", cause)
		}
		return err
	case errors.As(err, &timeout), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: it took too long: take fewer series or a shorter range: %w", ErrLimit, err)
	case errors.As(err, &parse):
		return fmt.Errorf("%w: %w", ErrBadQuery, err)
	}
	return err
}
