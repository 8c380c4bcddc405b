package store_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// subject is a store under the conformance test.
type subject struct {
	store.Store
	// settle returns when what was appended can be queried.
	settle func(t *testing.T)
	// kind is what Status has to say.
	kind string
	// remote stores neither refuse what is out of order nor keep limits of their own.
	remote bool
	// without native histograms
	classic bool
	// a dialect of PromQL, in which more is allowed
	dialect bool
}

// conform holds a store to what the engine relies on. Every part uses metrics of its own,
// as a remote store may be the same one all along.
func conform(t *testing.T, open func(t *testing.T) *subject) {
	for _, part := range []struct {
		name string
		test func(*testing.T, *subject)
	}{
		{"instant", testInstant},
		{"range", testRange},
		{"labels", testLabels},
		{"staleness", testStaleness},
		{"histogram", testHistogram},
		{"duplicates", testDuplicates},
		{"late", testLate},
		{"rollback", testRollback},
		{"errors", testErrors},
		{"concurrent", testConcurrent},
		{"status", testStatus},
		{"close", testClose},
	} {
		t.Run(part.name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() { _ = s.Close() })
			part.test(t, s)
		})
	}
}

// base is a round time in the recent past, so that no store finds it too old.
func base() time.Time { return time.Now().Add(-10 * time.Minute).Truncate(10 * time.Second) }

// appendAll appends (metric, time, value) in one transaction.
func appendAll(t *testing.T, s store.Store, add func(app storage.AppenderV2) error) {
	t.Helper()
	app := s.AppenderV2(t.Context())
	if err := add(app); err != nil {
		t.Fatal(err)
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}

func put(app storage.AppenderV2, at time.Time, v float64, ls ...string) error {
	_, err := app.Append(0, labels.FromStrings(ls...), 0, at.UnixMilli(), v, nil, nil, storage.AOptions{})
	return err
}

func instant(t *testing.T, s store.Store, expr string, at time.Time) promql.Vector {
	t.Helper()
	v, _, err := s.Instant(t.Context(), expr, at)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return v
}

func testInstant(t *testing.T, s *subject) {
	at := base()
	for i := range 31 {
		appendAll(t, s, func(app storage.AppenderV2) error {
			return errors.Join(
				put(app, at.Add(time.Duration(i)*10*time.Second), float64(i*20), "__name__", "instant_total", "job", "a"),
				put(app, at.Add(time.Duration(i)*10*time.Second), float64(i*30), "__name__", "instant_total", "job", "b"))
		})
	}
	s.settle(t)
	now := at.Add(300 * time.Second)
	if v := instant(t, s, `sum by (job) (rate(instant_total[2m]))`, now); len(v) != 2 {
		t.Fatalf("two jobs have a rate, got %v", v)
	} else {
		want := map[string]float64{"a": 2, "b": 3}
		for _, e := range v {
			if w := want[e.Metric.Get("job")]; math.Abs(e.F-w) > 1e-6 {
				t.Errorf("job %s: rate %v, want %v", e.Metric.Get("job"), e.F, w)
			}
			if e.T != now.UnixMilli() {
				t.Errorf("time %d, want %d", e.T, now.UnixMilli())
			}
		}
	}
	m, _, err := s.Ranges(t.Context(), `instant_total{job="b"}[25s]`, now)
	if err != nil || len(m) != 1 || len(m[0].Floats) != 3 || m[0].Floats[0].F != 28*30 || m[0].Floats[2].T != now.UnixMilli() || m[0].Metric.Get("job") != "b" {
		t.Errorf("the last samples of b: %v, %v", m, err)
	}
	if m, _, err := s.Ranges(t.Context(), `instant_total`, now); !errors.Is(err, store.ErrBadQuery) {
		t.Errorf("a vector is no range: %v, %v", m, err)
	}
	if v := instant(t, s, `instant_total{job="a"}`, now); len(v) != 1 || v[0].F != 600 || v[0].Metric.Get("__name__") != "instant_total" {
		t.Errorf("the last value of a: %v", v)
	}
	if v := instant(t, s, `1 + 1`, now); len(v) != 1 || v[0].F != 2 || !v[0].Metric.IsEmpty() {
		t.Errorf("a scalar is a vector of one element without labels, got %v", v)
	}
	if v := instant(t, s, `nothing_of_the_kind`, now); len(v) != 0 {
		t.Errorf("nothing there, got %v", v)
	}
}

func testRange(t *testing.T, s *subject) {
	at := base()
	for i := range 61 {
		appendAll(t, s, func(app storage.AppenderV2) error {
			return put(app, at.Add(time.Duration(i)*5*time.Second), float64(i), "__name__", "range_gauge", "job", "a")
		})
	}
	s.settle(t)
	m, _, err := s.Range(t.Context(), `range_gauge * 2`, at, at.Add(5*time.Minute), 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if len(m) != 1 || len(m[0].Floats) != 11 {
		t.Fatalf("11 points of one series, got %v", m)
	}
	for i, p := range m[0].Floats {
		if p.T != at.Add(time.Duration(i)*30*time.Second).UnixMilli() || p.F != float64(i*12) {
			t.Errorf("point %d: %v", i, p)
		}
	}
	if m[0].Metric.Get("job") != "a" {
		t.Errorf("labels %v", m[0].Metric)
	}
	if m, _, err := s.Range(t.Context(), `vector(7)`, at, at.Add(time.Minute), 30*time.Second); err != nil || len(m) != 1 || len(m[0].Floats) != 3 {
		t.Errorf("vector(7): %v, %v", m, err)
	}
}

func testLabels(t *testing.T, s *subject) {
	at := base()
	appendAll(t, s, func(app storage.AppenderV2) error {
		return errors.Join(
			put(app, at, 1, "__name__", "labels_one", "job", "l1", "unlike", "x"),
			put(app, at, 2, "__name__", "labels_two", "job", "l2"),
			put(app, at, 3, "__name__", "labels_two", "job", "l3"))
	})
	s.settle(t)
	from, to := at.Add(-time.Minute), at.Add(time.Minute)
	two := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "__name__", "labels_two")}
	either := []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, "__name__", "labels_.*")}
	names, _, err := s.LabelNames(t.Context(), from, to, 0, either)
	if err != nil || strings.Join(names, " ") != "__name__ job unlike" {
		t.Errorf("label names: %v, %v", names, err)
	}
	values, _, err := s.LabelValues(t.Context(), "job", from, to, 0, two)
	if err != nil || strings.Join(values, " ") != "l2 l3" {
		t.Errorf("label values: %v, %v", values, err)
	}
	all, _, err := s.LabelValues(t.Context(), "__name__", from, to, 0)
	if err != nil || !strings.Contains(strings.Join(all, " "), "labels_one labels_two") {
		t.Errorf("names of metrics: %v, %v", all, err)
	}
	series, _, err := s.Series(t.Context(), from, to, 0, two, either)
	if err != nil || len(series) != 3 {
		t.Errorf("series: %v, %v", series, err)
	}
	series, _, err = s.Series(t.Context(), from, to, 1, either)
	if err != nil || len(series) != 1 {
		t.Errorf("one series at most: %v, %v", series, err)
	}
}

func testStaleness(t *testing.T, s *subject) {
	at := base()
	appendAll(t, s, func(app storage.AppenderV2) error { return put(app, at, 1, "__name__", "stale_gauge") })
	appendAll(t, s, func(app storage.AppenderV2) error {
		return put(app, at.Add(10*time.Second), math.Float64frombits(value.StaleNaN), "__name__", "stale_gauge")
	})
	s.settle(t)
	if v := instant(t, s, `stale_gauge`, at.Add(5*time.Second)); len(v) != 1 {
		t.Errorf("there before it ended: %v", v)
	}
	if v := instant(t, s, `stale_gauge`, at.Add(20*time.Second)); len(v) != 0 {
		t.Errorf("a series that ended is gone at once: %v", v)
	}
}

func testHistogram(t *testing.T, s *subject) {
	if s.classic {
		t.Skip("this server has no native histograms")
	}
	at := base()
	for i := range 7 {
		appendAll(t, s, func(app storage.AppenderV2) error {
			h := tsdbutil.GenerateTestHistogram(int64(i))
			_, err := app.Append(0, labels.FromStrings("__name__", "hist_seconds"), 0, at.Add(time.Duration(i)*10*time.Second).UnixMilli(), 0, h, nil, storage.AOptions{})
			fh := tsdbutil.GenerateTestFloatHistogram(int64(i))
			_, err2 := app.Append(0, labels.FromStrings("__name__", "fhist_seconds"), 0, at.Add(time.Duration(i)*10*time.Second).UnixMilli(), 0, nil, fh, storage.AOptions{})
			return errors.Join(err, err2)
		})
	}
	s.settle(t)
	for _, name := range []string{"hist_seconds", "fhist_seconds"} {
		v := instant(t, s, name, at.Add(time.Minute))
		if len(v) != 1 || v[0].H == nil {
			t.Fatalf("%s: a histogram comes back: %v", name, v)
		}
		want := tsdbutil.GenerateTestHistogram(6).ToFloat(nil)
		if v[0].H.Count != want.Count || v[0].H.Sum != want.Sum {
			t.Errorf("%s: %v, want %v", name, v[0].H, want)
		}
		q := instant(t, s, fmt.Sprintf("histogram_quantile(0.5, %s)", name), at.Add(time.Minute))
		if len(q) != 1 || math.IsNaN(q[0].F) {
			t.Errorf("%s: median %v", name, q)
		}
		m, _, err := s.Range(t.Context(), name, at, at.Add(time.Minute), 10*time.Second)
		if err != nil || len(m) != 1 || len(m[0].Histograms) != 7 {
			t.Errorf("%s: seven histograms: %v, %v", name, m, err)
		}
	}
}

func testDuplicates(t *testing.T, s *subject) {
	at := base()
	appendAll(t, s, func(app storage.AppenderV2) error { return put(app, at, 1, "__name__", "dup_gauge") })
	appendAll(t, s, func(app storage.AppenderV2) error { return put(app, at, 1, "__name__", "dup_gauge") })
	if !s.remote {
		app := s.AppenderV2(t.Context())
		if err := put(app, at, 2, "__name__", "dup_gauge"); !errors.Is(err, storage.ErrDuplicateSampleForTimestamp) {
			t.Errorf("another value at the same time: %v", err)
		}
		_ = app.Rollback()
		for _, bad := range [][]string{{"a", "b"}, {}} {
			app := s.AppenderV2(t.Context())
			if err := put(app, at, 2, bad...); err == nil {
				t.Errorf("a series %v without a name is refused", bad)
			}
			_ = app.Rollback()
		}
	}
	s.settle(t)
	if v := instant(t, s, `count_over_time(dup_gauge[1m])`, at.Add(time.Second)); len(v) != 1 || v[0].F != 1 {
		t.Errorf("once: %v", v)
	}
}

// testLate: a clock that is set back a little loses nothing.
func testLate(t *testing.T, s *subject) {
	at := base()
	for _, offset := range []int{0, 10, 20, 60, 30, 40, 50, 70} {
		appendAll(t, s, func(app storage.AppenderV2) error {
			return put(app, at.Add(time.Duration(offset)*time.Second), float64(offset), "__name__", "late_gauge")
		})
	}
	s.settle(t)
	m, _, err := s.Range(t.Context(), `late_gauge`, at, at.Add(70*time.Second), 10*time.Second)
	if err != nil || len(m) != 1 || len(m[0].Floats) != 8 {
		t.Fatalf("eight points, got %v, %v", m, err)
	}
	for i, p := range m[0].Floats {
		if p.F != float64(i*10) {
			t.Errorf("point %d is %v", i, p.F)
		}
	}
}

func testRollback(t *testing.T, s *subject) {
	at := base()
	app := s.AppenderV2(t.Context())
	if err := put(app, at, 1, "__name__", "rolled_gauge"); err != nil {
		t.Fatal(err)
	}
	if err := app.Rollback(); err != nil {
		t.Fatal(err)
	}
	appendAll(t, s, func(app storage.AppenderV2) error { return put(app, at, 1, "__name__", "rolled_not_gauge") })
	s.settle(t)
	if v := instant(t, s, `rolled_gauge`, at.Add(time.Second)); len(v) != 0 {
		t.Errorf("taken back, and still there: %v", v)
	}
}

func testErrors(t *testing.T, s *subject) {
	at := base()
	if _, _, err := s.Instant(t.Context(), `sum(`, at); !errors.Is(err, store.ErrBadQuery) {
		t.Errorf("bad syntax: %v", err)
	}
	if _, _, err := s.Instant(t.Context(), `up[5m]`, at); !errors.Is(err, store.ErrBadQuery) && !s.dialect {
		t.Errorf("a range is no vector: %v", err)
	}
	if _, _, err := s.Range(t.Context(), `up`, at, at.Add(-time.Second), time.Second); !errors.Is(err, store.ErrBadQuery) {
		t.Errorf("end before begin: %v", err)
	}
	if _, _, err := s.Range(t.Context(), `up`, at, at.Add(time.Hour), 0); !errors.Is(err, store.ErrBadQuery) {
		t.Errorf("no step: %v", err)
	}
	if _, _, err := s.Range(t.Context(), `up`, at.Add(-24*time.Hour), at, time.Second); !errors.Is(err, store.ErrLimit) {
		t.Errorf("too many points: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Instant(ctx, `up`, at); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func testConcurrent(t *testing.T, s *subject) {
	at := base()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 50 {
				app := s.AppenderV2(context.Background())
				for k := range 10 {
					if err := put(app, at.Add(time.Duration(i)*time.Second), float64(i), "__name__", "conc_gauge", "w", fmt.Sprint(w), "k", fmt.Sprint(k)); err != nil {
						t.Errorf("append: %v", err)
					}
				}
				// A series that is new, as others create theirs and queries run.
				if err := put(app, at.Add(time.Duration(i)*time.Second), 1, "__name__", "conc_new", "w", fmt.Sprint(w), "i", fmt.Sprint(i)); err != nil {
					t.Errorf("append: %v", err)
				}
				if err := app.Commit(); err != nil {
					t.Errorf("commit: %v", err)
				}
			}
		})
		wg.Go(func() {
			for range 10 {
				if _, _, err := s.Range(context.Background(), `sum(conc_gauge) + count(conc_new)`, at, at.Add(time.Minute), time.Second); err != nil {
					t.Errorf("query: %v", err)
				}
				s.Status()
			}
		})
	}
	wg.Wait()
	s.settle(t)
	if v := instant(t, s, `sum(count_over_time(conc_gauge[2m]))`, at.Add(time.Minute)); len(v) != 1 || v[0].F != 4*50*10 {
		t.Errorf("all of %d samples: %v", 4*50*10, v)
	}
	if v := instant(t, s, `count(count_over_time(conc_new[2m]))`, at.Add(time.Minute)); len(v) != 1 || v[0].F != 4*50 {
		t.Errorf("all of %d new series: %v", 4*50, v)
	}
}

func testStatus(t *testing.T, s *subject) {
	at := base()
	appendAll(t, s, func(app storage.AppenderV2) error {
		return errors.Join(
			put(app, at, 1, "__name__", "status_gauge"),
			put(app, at.Add(time.Second), 1, "__name__", "status_gauge"))
	})
	s.settle(t)
	st := s.Status()
	if st.Kind != s.kind || !st.OK || st.Problem != "" {
		t.Errorf("status: %+v", st)
	}
	if st.Samples != 2 || st.Series < 1 || st.Bytes <= 0 {
		t.Errorf("two samples of one series: %+v", st)
	}
	if !s.remote && (!st.Oldest.Equal(at) || !st.Newest.Equal(at.Add(time.Second))) {
		t.Errorf("oldest and newest: %+v", st)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Errorf("flush: %v", err)
	}
}

func testClose(t *testing.T, s *subject) {
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("a second close does nothing: %v", err)
	}
	if st := s.Status(); st.OK || st.Kind != s.kind {
		t.Errorf("closed: %+v", st)
	}
	if _, _, err := s.Instant(t.Context(), `up`, base()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("query after close: %v", err)
	}
	if _, _, err := s.Series(t.Context(), base(), base(), 0); !errors.Is(err, store.ErrClosed) {
		t.Errorf("series after close: %v", err)
	}
	app := s.AppenderV2(t.Context())
	err := put(app, base(), 1, "__name__", "closed_gauge")
	if err == nil {
		err = app.Commit()
	}
	if !errors.Is(err, store.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
}
