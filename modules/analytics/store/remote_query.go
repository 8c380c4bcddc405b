package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apiv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/annotations"
)

// ask gives a query its time, and ends it with the store.
func (s *Remote) ask(ctx context.Context) (context.Context, func(), error) {
	if s.closed.Load() {
		return nil, nil, ErrClosed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.ctx, func() { cancel(ErrClosed) })
	ctx, done := context.WithTimeout(ctx, s.limits.Load().Timeout)
	return ctx, func() {
		done()
		stop()
		cancel(nil)
	}, nil
}

// Instant implements Querier.
func (s *Remote) Instant(ctx context.Context, expr string, at time.Time) (promql.Vector, annotations.Annotations, error) {
	ctx, done, err := s.ask(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	v, warnings, infos, err := s.api.Query(ctx, expr, at, apiv1.WithTimeout(s.limits.Load().Timeout))
	if err != nil {
		return nil, remarks(warnings, infos), remoteError(ctx, err)
	}
	switch v := v.(type) {
	case model.Vector:
		out := make(promql.Vector, 0, len(v))
		for _, e := range v {
			out = append(out, promql.Sample{Metric: toLabels(e.Metric), T: int64(e.Timestamp), F: float64(e.Value), H: toHistogram(e.Histogram)})
		}
		return out, remarks(warnings, infos), nil
	case *model.Scalar:
		return promql.Vector{{T: int64(v.Timestamp), F: float64(v.Value)}}, remarks(warnings, infos), nil
	}
	return nil, remarks(warnings, infos), fmt.Errorf("%w: the expression gives a %s: take a vector or a number", ErrBadQuery, v.Type())
}

// Range implements Querier.
func (s *Remote) Range(ctx context.Context, expr string, from, to time.Time, step time.Duration) (promql.Matrix, annotations.Annotations, error) {
	limits := s.limits.Load()
	if err := limits.checkRange(from, to, step); err != nil {
		return nil, nil, err
	}
	ctx, done, err := s.ask(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	v, warnings, infos, err := s.api.QueryRange(ctx, expr, apiv1.Range{Start: from, End: to, Step: step}, apiv1.WithTimeout(limits.Timeout))
	if err != nil {
		return nil, remarks(warnings, infos), remoteError(ctx, err)
	}
	return fromMatrix(v, remarks(warnings, infos))
}

// Ranges implements Querier.
func (s *Remote) Ranges(ctx context.Context, expr string, at time.Time) (promql.Matrix, annotations.Annotations, error) {
	ctx, done, err := s.ask(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	v, warnings, infos, err := s.api.Query(ctx, expr, at, apiv1.WithTimeout(s.limits.Load().Timeout))
	if err != nil {
		return nil, remarks(warnings, infos), remoteError(ctx, err)
	}
	return fromMatrix(v, remarks(warnings, infos))
}

func fromMatrix(v model.Value, notes annotations.Annotations) (promql.Matrix, annotations.Annotations, error) {
	m, ok := v.(model.Matrix)
	if !ok {
		return nil, notes, fmt.Errorf("%w: the expression gives a %s, which is of no use here", ErrBadQuery, v.Type())
	}
	out := make(promql.Matrix, 0, len(m))
	for _, series := range m {
		p := promql.Series{Metric: toLabels(series.Metric)}
		for _, v := range series.Values {
			p.Floats = append(p.Floats, promql.FPoint{T: int64(v.Timestamp), F: float64(v.Value)})
		}
		for _, h := range series.Histograms {
			p.Histograms = append(p.Histograms, promql.HPoint{T: int64(h.Timestamp), H: toHistogram(h.Histogram)})
		}
		out = append(out, p)
	}
	return out, notes, nil
}

// LabelNames implements Querier.
func (s *Remote) LabelNames(ctx context.Context, from, to time.Time, limit int, matchers ...[]*labels.Matcher) ([]string, annotations.Annotations, error) {
	ctx, done, err := s.ask(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	names, warnings, infos, err := s.api.LabelNames(ctx, selectors(matchers), from, to, within(limit)...)
	return cutStrings(names, limit), remarks(warnings, infos), remoteError(ctx, err)
}

// LabelValues implements Querier.
func (s *Remote) LabelValues(ctx context.Context, name string, from, to time.Time, limit int, matchers ...[]*labels.Matcher) ([]string, annotations.Annotations, error) {
	ctx, done, err := s.ask(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	values, warnings, infos, err := s.api.LabelValues(ctx, name, selectors(matchers), from, to, within(limit)...)
	return cutStrings(values, limit), remarks(warnings, infos), remoteError(ctx, err)
}

// Series implements Querier.
func (s *Remote) Series(ctx context.Context, from, to time.Time, limit int, matchers ...[]*labels.Matcher) ([]labels.Labels, annotations.Annotations, error) {
	ctx, done, err := s.ask(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	if len(matchers) == 0 {
		matchers = [][]*labels.Matcher{{labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".+")}}
	}
	sets, warnings, infos, err := s.api.Series(ctx, selectors(matchers), from, to, within(limit)...)
	out := make([]labels.Labels, 0, len(sets))
	for _, set := range sets {
		if limit > 0 && len(out) >= limit {
			break
		}
		out = append(out, toLabels(model.Metric(set)))
	}
	return out, remarks(warnings, infos), remoteError(ctx, err)
}

func within(limit int) []apiv1.Option {
	if limit <= 0 {
		return nil
	}
	return []apiv1.Option{apiv1.WithLimit(uint64(limit))}
}

func selectors(matchers [][]*labels.Matcher) []string {
	var out []string
	for _, ms := range matchers {
		parts := make([]string, 0, len(ms))
		for _, m := range ms {
			parts = append(parts, m.String())
		}
		out = append(out, "{"+strings.Join(parts, ",")+"}")
	}
	return out
}

func cutStrings[S ~string](in []S, limit int) []string {
	out := make([]string, 0, len(in))
	for _, s := range in {
		out = append(out, string(s))
	}
	slices.Sort(out)
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out
}

func remarks(warnings apiv1.Warnings, infos apiv1.Infos) annotations.Annotations {
	var a annotations.Annotations
	for _, w := range warnings {
		a.Add(errors.New(w))
	}
	for _, i := range infos {
		a.Add(errors.New(i))
	}
	return a
}

func toLabels(m model.Metric) labels.Labels {
	b := labels.NewScratchBuilder(len(m))
	for name, value := range m {
		b.Add(string(name), string(value))
	}
	b.Sort()
	return b.Labels()
}

// toHistogram makes one with buckets of its own bounds: the API gives bounds and counts, and
// not the schema that they come from.
func toHistogram(h *model.SampleHistogram) *histogram.FloatHistogram {
	if h == nil {
		return nil
	}
	out := &histogram.FloatHistogram{Schema: histogram.CustomBucketsSchema, Count: float64(h.Count), Sum: float64(h.Sum)}
	add := func(upper, count float64) {
		if n := len(out.CustomValues); n > 0 && upper <= out.CustomValues[n-1] {
			out.PositiveBuckets[n-1] += count
			return
		}
		out.CustomValues = append(out.CustomValues, upper)
		out.PositiveBuckets = append(out.PositiveBuckets, count)
	}
	for _, b := range h.Buckets {
		if n := len(out.CustomValues); n == 0 || out.CustomValues[n-1] < float64(b.Lower) {
			add(float64(b.Lower), 0) // a gap is an empty bucket
		}
		add(float64(b.Upper), float64(b.Count))
	}
	if len(out.PositiveBuckets) > 0 {
		out.PositiveSpans = []histogram.Span{{Length: uint32(len(out.PositiveBuckets))}}
	}
	return out
}

// remoteError sorts errors into too large, wrong, and out of reach.
func remoteError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrLimit) {
		return withoutURL(err)
	}
	if cause := context.Cause(ctx); cause != nil {
		if errors.Is(cause, context.DeadlineExceeded) {
			return fmt.Errorf("%w: it took too long: take fewer series or a shorter range", ErrLimit)
		}
		return fmt.Errorf("the query was given up: %w", cause)
	}
	answer := (*apiv1.Error)(nil)
	if !errors.As(err, &answer) {
		return fmt.Errorf("asking the remote store: %w", withoutURL(err))
	}
	switch answer.Type {
	case apiv1.ErrBadData:
		return fmt.Errorf("%w: %s", ErrBadQuery, answer.Msg)
	case apiv1.ErrTimeout, apiv1.ErrCanceled:
		return fmt.Errorf("%w: the remote store: %s", ErrLimit, answer.Msg)
	case apiv1.ErrExec:
		return fmt.Errorf("%w: the remote store: %s", ErrLimit, answer.Msg)
	// VictoriaMetrics has the status here.
	case "400", "422":
		return fmt.Errorf("%w: %s", ErrBadQuery, answer.Msg)
	case "429", "503":
		return fmt.Errorf("%w: the remote store: %s", ErrLimit, answer.Msg)
	}
	return fmt.Errorf("asking the remote store: %s: %s", answer.Type, answer.Msg)
}
