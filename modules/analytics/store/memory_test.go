package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/storage"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

func TestMemoryConforms(t *testing.T) {
	conform(t, func(*testing.T) *subject {
		return &subject{Store: store.NewMemory(store.MemoryOptions{}), kind: "memory", settle: func(*testing.T) {}}
	})
}

func TestMemoryBounds(t *testing.T) {
	at := base()
	t.Run("series", func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{MaxSeries: 10})
		defer m.Close()
		appendAll(t, m, func(app storage.AppenderV2) error {
			for i := range 25 {
				if err := put(app, at, 1, "__name__", "bound", "i", fmt.Sprint(i)); err != nil {
					return err
				}
			}
			return nil
		})
		if s := m.Status(); s.Series != 10 || s.Dropped != 15 || s.Samples != 10 || s.Problem == "" {
			t.Errorf("ten are kept, fifteen counted: %+v", s)
		}
	})
	t.Run("samples", func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{MaxSamples: 200})
		defer m.Close()
		for i := range 1000 {
			appendAll(t, m, func(app storage.AppenderV2) error {
				return put(app, at.Add(time.Duration(i)*time.Second), float64(i), "__name__", "bound")
			})
		}
		v := instant(t, m, `count_over_time(bound[1h])`, at.Add(1000*time.Second))
		if len(v) != 1 || v[0].F > 200 || v[0].F < 170 {
			t.Errorf("about 200 samples are kept: %v", v)
		}
		if v := instant(t, m, `bound`, at.Add(999*time.Second)); len(v) != 1 || v[0].F != 999 {
			t.Errorf("and the newest is one of them: %v", v)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		const limit = 100_000
		m := store.NewMemory(store.MemoryOptions{MaxBytes: limit})
		defer m.Close()
		for i := range 500 {
			appendAll(t, m, func(app storage.AppenderV2) error {
				var err error
				for k := range 50 {
					// Values that compress badly.
					err = errors.Join(err, put(app, at.Add(time.Duration(i)*time.Second), 1/float64(i*50+k+1), "__name__", "bound", "k", fmt.Sprint(k)))
				}
				return err
			})
		}
		s := m.Status()
		if s.Bytes > limit+50*700 {
			t.Errorf("%d bytes are kept", s.Bytes)
		}
		if s.Series != 50 || !s.Newest.Equal(at.Add(499*time.Second)) || !s.Oldest.After(at) {
			t.Errorf("the oldest went, of all alike: %+v", s)
		}
	})
	t.Run("retention", func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{Retention: 2 * time.Minute, MaxBytes: 1 << 30})
		defer m.Close()
		appendAll(t, m, func(app storage.AppenderV2) error { return put(app, at.Add(-time.Hour), 1, "__name__", "ended") })
		appendAll(t, m, func(app storage.AppenderV2) error { return put(app, at, 1, "__name__", "goes_on") })
		m.Sweep(time.Now())
		if s := m.Status(); s.Series != 1 {
			t.Errorf("a series without samples is forgotten: %+v", s)
		}
		// What comes back is a new series.
		appendAll(t, m, func(app storage.AppenderV2) error { return put(app, at, 1, "__name__", "ended") })
		if s := m.Status(); s.Series != 2 {
			t.Errorf("and may come back: %+v", s)
		}
	})
	t.Run("a clock set back", func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{OutOfOrder: time.Minute})
		defer m.Close()
		appendAll(t, m, func(app storage.AppenderV2) error { return put(app, at, 1, "__name__", "clock") })
		app := m.AppenderV2(t.Context())
		if err := put(app, at.Add(-time.Hour), 1, "__name__", "clock"); !errors.Is(err, storage.ErrTooOldSample) {
			t.Errorf("an hour back: %v", err)
		}
		_ = app.Rollback()
		if s := m.Status(); s.Dropped != 1 {
			t.Errorf("counted: %+v", s)
		}
	})
}
