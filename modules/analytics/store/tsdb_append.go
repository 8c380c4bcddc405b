package store

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// tsdbAppender counts what goes into a TSDB and holds it to the limit of series.
type tsdbAppender struct {
	s   *TSDB
	app storage.AppenderV2
	outcome
	begun bool // it counts as open
}

// outcome is what became of the samples of one transaction.
type outcome struct {
	taken, dropped, tooOld, tooMany uint64
}

// Append implements storage.AppenderV2.
func (a *tsdbAppender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	a.s.gate.RLock()
	defer a.s.gate.RUnlock()
	if a.s.db == nil {
		return 0, ErrClosed
	}
	if err := checkLabels(ls); err != nil {
		a.dropped++
		return 0, err
	}
	a.s.appending.Lock()
	defer a.s.appending.Unlock()
	if !a.begun {
		a.s.open.begin()
		a.begun = true
	}
	if head := a.s.db.Head(); ref == 0 && head.NumSeries() >= uint64(a.s.maxSeries.Load()) {
		if known, _ := a.app.(storage.GetRef).GetRef(ls, ls.Hash()); known == 0 {
			a.dropped++
			a.tooMany++
			return 0, nil
		}
	}
	ref, err := a.app.Append(ref, ls, st, t, v, h, fh, opts)
	switch {
	case err == nil:
		a.taken++
	case errors.Is(err, storage.ErrTooOldSample), errors.Is(err, storage.ErrOutOfBounds):
		a.tooOld++
		a.dropped++
	default:
		if partial := (*storage.AppendPartialError)(nil); errors.As(err, &partial) {
			a.taken++ // only an exemplar was not
		} else {
			a.dropped++
		}
	}
	return ref, err
}

// AppendExemplars implements storage.ExemplarAppenderV2: exemplars are not kept.
func (a *tsdbAppender) AppendExemplars(ref storage.SeriesRef, _ labels.Labels, _ []exemplar.Exemplar) (storage.SeriesRef, error) {
	return ref, nil
}

// Commit implements storage.AppenderV2.
func (a *tsdbAppender) Commit() error {
	a.s.gate.RLock()
	defer a.s.gate.RUnlock()
	defer a.end()
	if a.s.db == nil {
		return errors.Join(ErrClosed, a.app.Rollback())
	}
	err := guarded(a.app.Commit)
	a.s.health.committed(a.outcome, err, time.Now())
	if err != nil {
		a.s.open.tear()
		a.s.watchRoom()
		return err
	}
	a.end()
	if a.taken > 0 {
		a.s.mend(context.Background(), false)
	}
	return nil
}

// Rollback implements storage.AppenderV2.
func (a *tsdbAppender) Rollback() error {
	defer a.end()
	a.s.health.committed(outcome{dropped: a.dropped}, nil, time.Time{})
	err := a.app.Rollback()
	if err != nil && !errors.Is(err, tsdb.ErrAppenderClosed) {
		a.s.open.tear() // it logs the series that it has made
	}
	return err
}

func (a *tsdbAppender) end() {
	if a.begun {
		a.begun = false
		a.s.open.end()
	}
}

// closedAppender is what a closed store gives.
type closedAppender struct{}

func (closedAppender) Append(storage.SeriesRef, labels.Labels, int64, int64, float64, *histogram.Histogram, *histogram.FloatHistogram, storage.AOptions) (storage.SeriesRef, error) {
	return 0, ErrClosed
}
func (closedAppender) Commit() error   { return ErrClosed }
func (closedAppender) Rollback() error { return nil }
