package store

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
)

// samplesPerRequest bounds a record of the queue and a request.
const samplesPerRequest = 2000

// AppenderV2 implements storage.AppendableV2.
func (s *Remote) AppenderV2(context.Context) storage.AppenderV2 {
	return &remoteAppender{s: s}
}

type remoteAppender struct {
	s      *Remote
	series []prompb.TimeSeries
	newest int64
}

// Append implements storage.AppenderV2.
func (a *remoteAppender) Append(_ storage.SeriesRef, ls labels.Labels, _, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, _ storage.AOptions) (storage.SeriesRef, error) {
	if a.s.closed.Load() {
		return 0, ErrClosed
	}
	err := checkLabels(ls)
	if err == nil && h != nil {
		err = h.Validate()
	}
	if err == nil && fh != nil {
		err = fh.Validate()
	}
	if err != nil {
		a.s.dropped.Add(1)
		return 0, err
	}
	ls = ls.WithoutEmpty()
	ref := ls.Hash()
	if !a.s.series.admit(ref, time.Now()) {
		a.s.dropped.Add(1)
		return 0, nil
	}
	ts := prompb.TimeSeries{Labels: prompb.FromLabels(ls, nil)}
	switch {
	case fh != nil:
		ts.Histograms = []prompb.Histogram{prompb.FromFloatHistogram(t, fh)}
	case h != nil:
		ts.Histograms = []prompb.Histogram{prompb.FromIntHistogram(t, h)}
	default:
		ts.Samples = []prompb.Sample{{Timestamp: t, Value: v}}
	}
	a.series = append(a.series, ts)
	a.newest = max(a.newest, t)
	// The hash is no reference that could stand without labels, and need not be one.
	return storage.SeriesRef(ref | 1), nil
}

// AppendExemplars implements storage.ExemplarAppenderV2: exemplars are not kept.
func (a *remoteAppender) AppendExemplars(ref storage.SeriesRef, _ labels.Labels, _ []exemplar.Exemplar) (storage.SeriesRef, error) {
	return ref, nil
}

// Commit implements storage.AppenderV2.
func (a *remoteAppender) Commit() error {
	if a.s.closed.Load() {
		return ErrClosed
	}
	for rest := a.series; len(rest) > 0; {
		n := min(len(rest), samplesPerRequest)
		payload, err := (&prompb.WriteRequest{Timeseries: rest[:n]}).Marshal()
		if err == nil {
			err = a.s.queue.push(payload, n)
		}
		a.s.mu.Lock()
		a.s.unsaved = err
		a.s.mu.Unlock()
		if err != nil {
			a.s.dropped.Add(uint64(len(rest)))
			return err
		}
		a.s.appended.Add(uint64(n))
		rest = rest[n:]
	}
	for old := a.s.newest.Load(); a.newest > old && !a.s.newest.CompareAndSwap(old, a.newest); old = a.s.newest.Load() {
	}
	a.series = nil
	return nil
}

// Rollback implements storage.AppenderV2.
func (a *remoteAppender) Rollback() error {
	a.series = nil
	return nil
}

// seriesSet counts the series of the last hour and holds them to a limit.
type seriesSet struct {
	mu    sync.Mutex
	limit int
	seen  map[uint64]int64 // when, in Unix seconds, by hash
	swept int64
}

const seriesMemory = 3600 // seconds

func (s *seriesSet) admit(hash uint64, now time.Time) bool {
	at := now.Unix()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = make(map[uint64]int64)
	}
	if _, known := s.seen[hash]; !known && len(s.seen) >= s.limit {
		if at-s.swept < 60 {
			return false
		}
		s.swept = at
		for h, t := range s.seen {
			if at-t > seriesMemory {
				delete(s.seen, h)
			}
		}
		if len(s.seen) >= s.limit {
			return false
		}
	}
	s.seen[hash] = at
	return true
}

func (s *seriesSet) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

func (s *seriesSet) setLimit(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = n
}
