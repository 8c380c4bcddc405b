package analytics

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// setClock makes the time of day that the engine sees one that can be set.
func setClock(t *testing.T) *atomic.Int64 {
	t.Helper()
	ahead := new(atomic.Int64)
	wallClock = func() time.Time { return time.Now().Round(0).Add(time.Duration(ahead.Load())) }
	t.Cleanup(func() { wallClock = time.Now })
	return ahead
}

// The clock is set ahead and back while the engine runs on a TSDB. It goes on by itself each
// time; what is too old for the store is counted, and told.
func TestClockIsSet(t *testing.T) {
	dir := t.TempDir()
	ahead := setClock(t)
	r := newRig(t)
	memory := r.backing
	t.Cleanup(func() { _ = memory.Close() })
	s, err := store.OpenTSDB(store.TSDBOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	r.backing = s
	a := r.run(t, "")

	// fresh is whether signals are evaluated at the present time, from samples of it.
	fresh := func() bool {
		now := wallClock()
		for _, sig := range a.CurrentSignals() {
			if len(sig.Series) == 0 || sig.Series[0].Value == nil || now.Sub(sig.At).Abs() > 10*time.Second {
				return false
			}
		}
		v, _, err := s.Instant(t.Context(), "max(timestamp(load))", now)
		return err == nil && len(v) == 1 && now.Sub(time.UnixMilli(int64(v[0].F*1000))).Abs() < 10*time.Second
	}
	until(t, "it runs", func() bool { return a.StatusReport().State == phaseRunning && fresh() })
	for _, step := range []time.Duration{-time.Hour + time.Minute, 0, time.Hour, time.Minute} {
		ahead.Store(int64(step))
		taken := s.Status().Samples
		until(t, "it goes on with the clock at "+step.String(), func() bool { return s.Status().Samples > taken+100 && fresh() })
		until(t, "nothing is wrong then", func() bool { return a.StatusReport().State == phaseRunning })
	}
	if st := a.StatusReport(); st.Dropped.Samples != 0 {
		t.Errorf("within the window nothing is turned away: %+v", st.Dropped)
	}

	// Further back than the store takes.
	ahead.Store(int64(-3 * time.Hour))
	until(t, "what is too old is counted and told", func() bool {
		st := a.StatusReport()
		return st.State == phaseDegraded && st.Dropped.Samples > 20 && strings.Contains(strings.Join(st.Problems, "\n"), "the clock was set back")
	})
	ahead.Store(int64(time.Minute))
	until(t, "it goes on when the clock is right again", func() bool { return a.StatusReport().State == phaseRunning && fresh() })
}

// What the scrape manager appends is passed on so that it gives up nothing else when the
// clock was set back, and each collection has its own time.
func TestScrapeAfterTheClockWasSetBack(t *testing.T) {
	if scrape.AlignScrapeTimestamps {
		t.Error("collections would all get one time until the clock is where it was")
	}
	s, err := store.OpenTSDB(store.TSDBOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var last Collection
	w := &watched{to: s, name: "registry", done: func(c Collection) { last = c }, ready: make(chan struct{})}
	collect := func(at time.Time) (refused int) {
		t.Helper()
		app := w.AppenderV2(context.Background())
		for _, name := range []string{"load", "up", "scrape_duration_seconds", "scrape_samples_scraped"} {
			_, err := app.Append(0, labels.FromStrings("__name__", name, "instance", "here"), 0, at.UnixMilli(), 1, nil, nil, storage.AOptions{})
			if errors.Is(err, storage.ErrOutOfOrderSample) { // which the manager passes over
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
		if !last.At.Equal(at.Truncate(time.Millisecond)) {
			t.Errorf("the collection of %v is told as %+v", at, last)
		}
		return refused
	}
	now := time.Now().Truncate(time.Millisecond)
	for _, c := range []struct {
		at      time.Duration
		refused int
		ok      bool
	}{{0, 0, true}, {-30 * time.Minute, 0, true}, {-2 * time.Hour, 4, false}, {-50 * time.Minute, 0, true}, {time.Second, 0, true}} {
		if n := collect(now.Add(c.at)); n != c.refused {
			t.Errorf("at %v: %d were refused, want %d", c.at, n, c.refused)
		}
		if st := s.Status(); st.OK != c.ok || !c.ok && !strings.Contains(st.Problem, "clock") {
			t.Errorf("at %v: %+v", c.at, st)
		}
	}
	if st := s.Status(); st.Dropped != 4 || st.Samples != 16 {
		t.Errorf("%+v", st)
	}
}
