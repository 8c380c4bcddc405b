package analytics

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
)

// watched stores what a scrape manager appends, and tells of each collection. The manager
// closes each with samples about itself, which say all that there is to tell.
type watched struct {
	to   storage.AppendableV2
	name string
	done func(Collection)

	once    sync.Once
	ready   chan struct{} // closed when the targets are known
	targets map[string]*scrape.Target
}

// know gives the targets, by their label "instance".
func (w *watched) know(targets []*scrape.Target) {
	w.once.Do(func() {
		w.targets = make(map[string]*scrape.Target, len(targets))
		for _, t := range targets {
			w.targets[t.GetValue(model.InstanceLabel)] = t
		}
		close(w.ready)
	})
}

// failure is why the last collection from a target failed.
func (w *watched) failure(instance string) error {
	<-w.ready
	if t := w.targets[instance]; t != nil {
		if err := t.LastError(); err != nil {
			return plain(err)
		}
	}
	return errors.New("it could not be collected from")
}

// AppenderV2 implements storage.AppendableV2.
func (w *watched) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return &watchedAppender{w: w, app: w.to.AppenderV2(ctx)}
}

type watchedAppender struct {
	w   *watched
	app storage.AppenderV2

	seen     bool // the sample "up"
	up       bool
	instance string
	at       int64
	took     float64
	samples  float64
}

// Append implements storage.AppenderV2.
func (a *watchedAppender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (out storage.SeriesRef, err error) {
	// A panic here would end the process, and the traffic with it.
	defer recovered(&err)
	switch ls.Get(model.MetricNameLabel) {
	case "up":
		if !value.IsStaleNaN(v) {
			a.seen, a.up, a.at = true, v == 1, t
			a.instance = ls.Get(model.InstanceLabel)
		}
	case "scrape_duration_seconds":
		a.took = v
	case "scrape_samples_scraped":
		a.samples = v
	}
	out, err = a.app.Append(ref, ls, st, t, v, h, fh, opts)
	// A sample that is too old after the clock was set back is no reason to give up the
	// rest. The store counts it, and says so; the manager passes over this error only.
	if errors.Is(err, storage.ErrTooOldSample) || errors.Is(err, storage.ErrOutOfBounds) {
		err = storage.ErrOutOfOrderSample
	}
	return out, err
}

// Commit implements storage.AppenderV2.
func (a *watchedAppender) Commit() (err error) {
	defer recovered(&err)
	err = a.app.Commit()
	if !a.seen {
		return err
	}
	c := Collection{
		Source:  a.w.name,
		Target:  a.instance,
		At:      time.UnixMilli(a.at),
		Took:    time.Duration(a.took * float64(time.Second)),
		Samples: int(a.samples),
	}
	switch {
	case err != nil:
		c.Err = fmt.Errorf("storing what was collected: %w", err)
	case !a.up:
		c.Err = a.w.failure(a.instance)
	}
	a.w.done(c)
	return err
}

// Rollback implements storage.AppenderV2.
func (a *watchedAppender) Rollback() (err error) {
	defer recovered(&err)
	return a.app.Rollback()
}

func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic: %v", p)
	}
}
