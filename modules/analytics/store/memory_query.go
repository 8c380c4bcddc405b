package store

import (
	"context"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
)

func (m *Memory) querier(mint, maxt int64) (storage.Querier, error) {
	if m.closed.Load() {
		return nil, ErrClosed
	}
	return &memQuerier{m: m, mint: mint, maxt: maxt}, nil
}

// memQuerier reads a Memory between two times.
type memQuerier struct {
	m          *Memory
	mint, maxt int64
}

// Close implements storage.LabelQuerier.
func (q *memQuerier) Close() error { return nil }

// Select implements storage.Querier.
func (q *memQuerier) Select(ctx context.Context, sorted bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	found, err := q.match(ctx, matchers)
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	if sorted {
		slices.SortFunc(found, func(a, b *memSeries) int { return labels.Compare(a.ls, b.ls) })
	}
	return &memSet{ctx: ctx, q: q, series: found, i: -1}
}

// LabelNames implements storage.LabelQuerier.
func (q *memQuerier) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	found, err := q.match(ctx, matchers)
	if err != nil {
		return nil, nil, err
	}
	names := make(map[string]struct{})
	for _, s := range found {
		s.ls.Range(func(l labels.Label) { names[l.Name] = struct{}{} })
	}
	return sortedKeys(names, hints), nil, nil
}

// LabelValues implements storage.LabelQuerier.
func (q *memQuerier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	found, err := q.match(ctx, matchers)
	if err != nil {
		return nil, nil, err
	}
	values := make(map[string]struct{})
	for _, s := range found {
		if v := s.ls.Get(name); v != "" {
			values[v] = struct{}{}
		}
	}
	return sortedKeys(values, hints), nil, nil
}

func sortedKeys(set map[string]struct{}, hints *storage.LabelHints) []string {
	keys := make([]string, 0, len(set))
	for k := range set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	keys, _ = hints.ApplyLimit(keys)
	return keys
}

// match finds the series that fit and have samples in the range.
func (q *memQuerier) match(ctx context.Context, matchers []*labels.Matcher) ([]*memSeries, error) {
	q.m.mu.RLock()
	defer q.m.mu.RUnlock()
	among := q.m.byID
	for _, mt := range matchers {
		if mt.Name == model.MetricNameLabel && mt.Type == labels.MatchEqual && mt.Value != "" {
			among = q.m.byName[mt.Value]
			break
		}
	}
	var found []*memSeries
	n := 0
series:
	for _, s := range among {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for _, mt := range matchers {
			if !mt.Matches(s.ls.Get(mt.Name)) {
				continue series
			}
		}
		if s.within(q.mint, q.maxt) {
			found = append(found, s)
		}
	}
	return found, nil
}

// within says whether there may be samples between mint and maxt.
func (s *memSeries) within(mint, maxt int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.chunks {
		if c.max >= mint && c.min <= maxt {
			return true
		}
	}
	return false
}

// memSet implements storage.SeriesSet.
type memSet struct {
	ctx    context.Context
	q      *memQuerier
	series []*memSeries
	i      int
}

func (s *memSet) Next() bool {
	if s.ctx.Err() != nil {
		return false
	}
	s.i++
	return s.i < len(s.series)
}

func (s *memSet) At() storage.Series {
	series, q := s.series[s.i], s.q
	return &storage.SeriesEntry{
		Lset:             series.ls,
		SampleIteratorFn: func(chunkenc.Iterator) chunkenc.Iterator { return series.iterator(q.mint, q.maxt) },
	}
}

func (s *memSet) Err() error                        { return s.ctx.Err() }
func (s *memSet) Warnings() annotations.Annotations { return nil }
