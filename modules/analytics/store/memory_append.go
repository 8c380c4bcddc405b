package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// AppenderV2 implements storage.AppendableV2.
func (m *Memory) AppenderV2(context.Context) storage.AppenderV2 {
	return &memAppender{m: m}
}

type memAppender struct {
	m       *Memory
	pending []pendingPoint
}

type pendingPoint struct {
	point
	series *memSeries
}

// Append implements storage.AppenderV2.
func (a *memAppender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	if a.m.closed.Load() {
		return 0, ErrClosed
	}
	if err := checkLabels(ls); err != nil {
		a.m.dropped.Add(1)
		return 0, err
	}
	if h != nil {
		if err := h.Validate(); err != nil {
			a.m.dropped.Add(1)
			return 0, err
		}
	}
	if fh != nil {
		if err := fh.Validate(); err != nil {
			a.m.dropped.Add(1)
			return 0, err
		}
	}
	s := a.m.series(ref, ls.WithoutEmpty())
	if s == nil {
		a.m.dropped.Add(1)
		return 0, nil
	}
	p := point{st: st, t: t, v: v, h: h, fh: fh}
	skip, err := a.m.admit(s, &p, opts.RejectOutOfOrder)
	if err != nil {
		a.m.dropped.Add(1)
		return 0, err
	}
	if !skip {
		a.pending = append(a.pending, pendingPoint{p, s})
	}
	return s.id, nil
}

// AppendExemplars implements storage.ExemplarAppenderV2: exemplars are not kept.
func (a *memAppender) AppendExemplars(ref storage.SeriesRef, _ labels.Labels, _ []exemplar.Exemplar) (storage.SeriesRef, error) {
	return ref, nil
}

// admit says whether p fits behind what is there.
func (m *Memory) admit(s *memSeries, p *point, inOrder bool) (skip bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.samples == 0 || p.t > s.last:
		return false, nil
	case p.t == s.last:
		if p.h == nil && p.fh == nil && math.Float64bits(p.v) == math.Float64bits(s.lastV) {
			return true, nil
		}
		return false, storage.ErrDuplicateSampleForTimestamp
	case inOrder:
		return false, storage.ErrOutOfOrderSample
	case s.last-p.t > m.opts().OutOfOrder.Milliseconds():
		return false, storage.ErrTooOldSample
	}
	return false, nil
}

// Commit implements storage.AppenderV2.
func (a *memAppender) Commit() error {
	m := a.m
	if m.closed.Load() {
		return ErrClosed
	}
	var failed error
	newest := int64(math.MinInt64)
	for i := range a.pending {
		p := &a.pending[i]
		s := p.series
		s.mu.Lock()
		for s.gone { // forgotten since Append, as it had no samples
			s.mu.Unlock()
			if s = m.series(0, s.ls); s == nil {
				break
			}
			s.mu.Lock()
		}
		if s == nil {
			m.dropped.Add(1)
			continue
		}
		if grown, err := s.append(&p.point, m.opts().MaxSamples); err != nil {
			failed = errors.Join(failed, err)
			m.dropped.Add(1)
		} else {
			m.bytes.Add(grown)
			m.appended.Add(1)
			newest = max(newest, p.t)
		}
		s.mu.Unlock()
	}
	a.pending = nil
	for {
		old := m.newest.Load()
		if newest <= old || m.newest.CompareAndSwap(old, newest) {
			break
		}
	}
	now := time.Now()
	swept := m.swept.Load()
	if m.bytes.Load() > m.opts().MaxBytes ||
		(now.Unix()-swept >= int64(sweepEvery/time.Second) || now.Unix() < swept) && m.swept.CompareAndSwap(swept, now.Unix()) {
		m.sweep(now)
	}
	return failed
}

// Rollback implements storage.AppenderV2.
func (a *memAppender) Rollback() error {
	a.pending = nil
	return nil
}

// checkLabels refuses what no store takes.
func checkLabels(ls labels.Labels) error {
	if ls.IsEmpty() || ls.Get(model.MetricNameLabel) == "" {
		return errors.New("a series needs a name")
	}
	if name, dup := ls.HasDuplicateLabelNames(); dup {
		return fmt.Errorf("label %q is there twice", name)
	}
	return nil
}

func tooManySeries(limit int) string {
	return fmt.Sprintf("new series are turned away: there are %d already; raise max_series, or drop labels that vary", limit)
}
