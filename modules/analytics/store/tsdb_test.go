package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/storage"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

func openTSDB(t *testing.T, dir string) *store.TSDB {
	t.Helper()
	s, err := store.OpenTSDB(store.TSDBOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestTSDBConforms(t *testing.T) {
	conform(t, func(t *testing.T) *subject {
		return &subject{Store: openTSDB(t, t.TempDir()), kind: "tsdb", settle: func(*testing.T) {}}
	})
}

func TestTSDBKeepsItsSamples(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	at := base()
	s := openTSDB(t, dir)
	appendAll(t, s, func(app storage.AppenderV2) error { return put(app, at, 42, "__name__", "kept") })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTSDB(t, dir)
	if v := instant(t, s, "kept", at); len(v) != 1 || v[0].F != 42 {
		t.Errorf("after a restart: %v", v)
	}
	if st := s.Status(); len(st.Notes) != 0 || st.Location != dir {
		t.Errorf("nothing to tell: %+v", st)
	}
}

func TestTSDBLock(t *testing.T) {
	dir := t.TempDir()
	openTSDB(t, dir)
	before := list(t, dir)
	_, err := store.OpenTSDB(store.TSDBOptions{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second one: %v", err)
	}
	if after := list(t, dir); after != before {
		t.Errorf("it touched the directory: %s, was %s", after, before)
	}
}

func list(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(entries)
}

func TestTSDBSeriesLimit(t *testing.T) {
	s, err := store.OpenTSDB(store.TSDBOptions{Dir: t.TempDir(), MaxSeries: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	at := base()
	for i := range 2 {
		appendAll(t, s, func(app storage.AppenderV2) error {
			for k := range 15 {
				if err := put(app, at.Add(time.Duration(i)*time.Second), 1, "__name__", "bound", "k", fmt.Sprint(k)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if st := s.Status(); st.Series != 10 || st.Dropped != 10 || st.Samples != 20 || !strings.Contains(st.Problem, "max_series") {
		t.Errorf("ten series, two samples each, the rest counted: %+v", st)
	}
	if err := s.Apply(store.TSDBOptions{MaxSeries: 20}); err != nil {
		t.Fatal(err)
	}
	appendAll(t, s, func(app storage.AppenderV2) error { return put(app, at, 1, "__name__", "bound", "k", "14") })
	if st := s.Status(); st.Series != 11 || st.Problem != "" {
		t.Errorf("with a higher limit: %+v", st)
	}
}

// A clock that was far ahead leaves samples from the future; right ones are then too old.
func TestTSDBClockSetBack(t *testing.T) {
	s := openTSDB(t, t.TempDir())
	now := base()
	appendAll(t, s, func(app storage.AppenderV2) error { return put(app, now.Add(48*time.Hour), 1, "__name__", "clock") })
	app := s.AppenderV2(t.Context())
	if err := put(app, now, 1, "__name__", "clock"); !errors.Is(err, storage.ErrTooOldSample) && !errors.Is(err, storage.ErrOutOfBounds) {
		t.Errorf("two days back: %v", err)
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	if st := s.Status(); st.OK || st.Dropped != 1 || !strings.Contains(st.Problem, "clock") {
		t.Errorf("says so: %+v", st)
	}
	appendAll(t, s, func(app storage.AppenderV2) error {
		return put(app, now.Add(47*time.Hour+30*time.Minute), 1, "__name__", "clock")
	})
	if st := s.Status(); !st.OK || st.Problem != "" {
		t.Errorf("near enough again: %+v", st)
	}
}
