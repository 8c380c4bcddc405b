package store_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// eventually waits for a condition, for long if it must.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startPrometheus runs the Prometheus that is installed, as a receiver of remote writes.
func startPrometheus(t *testing.T) (address string) {
	t.Helper()
	s := prometheusServer(t)
	s.start()
	t.Cleanup(s.kill)
	return s.address
}

// startVictoriaMetrics runs the one that $VICTORIA_METRICS or the path has.
func startVictoriaMetrics(t *testing.T) (address string) {
	t.Helper()
	s := victoriaServer(t)
	s.start()
	t.Cleanup(s.kill)
	return s.address
}

func openRemote(t *testing.T, opts store.RemoteOptions) *store.Remote {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	s, err := store.OpenRemote(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func drained(t *testing.T, s store.Store) {
	t.Helper()
	eventually(t, "everything is sent", func() bool { return s.Status().Pending == 0 })
}

func TestRemoteConformsToPrometheus(t *testing.T) {
	address := startPrometheus(t)
	conform(t, func(t *testing.T) *subject {
		s := openRemote(t, store.RemoteOptions{URL: "http://" + address})
		return &subject{Store: s, kind: "prometheus", remote: true, settle: func(t *testing.T) { drained(t, s) }}
	})
}

func TestRemoteConformsToVictoriaMetrics(t *testing.T) {
	address := startVictoriaMetrics(t)
	conform(t, func(t *testing.T) *subject {
		s := openRemote(t, store.RemoteOptions{URL: "http://" + address})
		return &subject{Store: s, kind: "prometheus", remote: true, classic: true, dialect: true, settle: func(t *testing.T) {
			drained(t, s)
			// It shows new samples after a moment, or when told to.
			resp, err := http.Get("http://" + address + "/internal/force_flush")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}}
	})
}

// outage is a way to a server that can be cut.
func outage(t *testing.T, address string) (way string, down *atomic.Bool) {
	t.Helper()
	down = new(atomic.Bool)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, down
}

// An outage of the server under load loses nothing, and neither does a restart within it.
func TestRemoteOutage(t *testing.T) {
	address := startPrometheus(t)
	way, down := outage(t, address)
	opts := store.RemoteOptions{URL: way, Dir: t.TempDir()}
	s := openRemote(t, opts)
	at := base()
	const series, rounds = 50, 300
	add := func(i int) {
		appendAll(t, s, func(app storage.AppenderV2) error {
			var err error
			for k := range series {
				err = errors.Join(err, put(app, at.Add(time.Duration(i)*time.Second), float64(i), "__name__", "outage", "k", fmt.Sprint(k)))
			}
			return err
		})
	}
	for i := range rounds {
		switch i {
		case 100:
			down.Store(true)
		case 150:
			eventually(t, "it is noticed", func() bool { return !s.Status().OK })
			if st := s.Status(); st.Pending < series || !strings.Contains(st.Problem, "wait") {
				t.Errorf("what waits is told: %+v", st)
			}
		case 200: // the process ends in the middle of it
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openRemote(t, opts)
			if st := s.Status(); st.Pending < 90*series {
				t.Errorf("what waited waits still: %+v", st)
			}
		case 250:
			down.Store(false)
		}
		add(i)
	}
	drained(t, s)
	eventually(t, "it is well again", func() bool { return s.Status().OK })
	if v := instant(t, s, `sum(count_over_time(outage[10m]))`, at.Add(rounds*time.Second)); len(v) != 1 || v[0].F != series*rounds {
		t.Errorf("%d samples, and there are %v", series*rounds, v)
	}
	if st := s.Status(); st.Dropped != 0 {
		t.Errorf("nothing was dropped: %+v", st)
	}
}

// One series that the server refuses takes no other with it.
func TestRemoteRefusal(t *testing.T) {
	address := startPrometheus(t)
	way, down := outage(t, address)
	s := openRemote(t, store.RemoteOptions{URL: way})
	at := base()
	appendAll(t, s, func(app storage.AppenderV2) error { return put(app, at, 1, "__name__", "refused", "k", "3") })
	drained(t, s)
	down.Store(true)
	appendAll(t, s, func(app storage.AppenderV2) error {
		var err error
		for k := range 20 { // of which one is too old
			when := at
			if k == 3 {
				when = at.Add(-48 * time.Hour)
			}
			err = errors.Join(err, put(app, when, 1, "__name__", "refused", "k", fmt.Sprint(k)))
		}
		return err
	})
	down.Store(false)
	drained(t, s)
	if v := instant(t, s, `count(refused)`, at); len(v) != 1 || v[0].F != 20 {
		t.Errorf("all series are there: %v", v)
	}
	if st := s.Status(); st.Dropped != 1 || !st.OK || st.Problem == "" {
		t.Errorf("one sample is not, and that is told: %+v", st)
	}
}

// A Prometheus that keeps no native histograms, as one before 3.0 does untold, takes all else.
func TestRemoteWithoutNativeHistograms(t *testing.T) {
	real := prometheusServer(t)
	real.args = slices.DeleteFunc(real.args, func(a string) bool { return a == "--enable-feature=native-histograms" })
	if v, err := exec.Command(real.name, "--version").CombinedOutput(); err != nil || !strings.Contains(string(v), "version 2.") {
		t.Skip("this Prometheus keeps native histograms in any case: it takes one of 2.x")
	}
	real.start()
	t.Cleanup(real.kill)
	way, down := outage(t, real.address)
	s := openRemote(t, store.RemoteOptions{URL: way})
	at := base()
	const series, histograms, rounds = 30, 3, 4
	down.Store(true) // so that all of it is sent at once
	for i := range rounds {
		appendAll(t, s, func(app storage.AppenderV2) error {
			when := at.Add(time.Duration(i) * time.Second)
			var err error
			for k := range series {
				err = errors.Join(err, put(app, when, float64(i), "__name__", "plain", "k", fmt.Sprint(k)))
				if k < histograms {
					_, e := app.Append(0, labels.FromStrings("__name__", "native", "k", fmt.Sprint(k)), 0, when.UnixMilli(), 0, tsdbutil.GenerateTestHistogram(1), nil, storage.AOptions{})
					err = errors.Join(err, e)
				}
			}
			return err
		})
	}
	down.Store(false)
	drained(t, s)
	if v := instant(t, s, `sum(count_over_time(plain[10m]))`, at.Add(rounds*time.Second)); len(v) != 1 || v[0].F != series*rounds {
		t.Errorf("what is no histogram is there: %v", v)
	}
	st := s.Status()
	if !st.OK || st.Dropped != histograms*rounds || !strings.Contains(st.Problem, "--enable-feature=native-histograms") {
		t.Errorf("the others are counted, and the way out is told: %+v", st)
	}
}

// The queue is bounded: the oldest go first, and are counted.
func TestRemoteQueueIsBounded(t *testing.T) {
	const limit = 512 << 10
	s := openRemote(t, store.RemoteOptions{URL: "http://" + freePort(t), MaxQueue: limit})
	at := base()
	const rounds, series = 400, 200
	for i := range rounds {
		appendAll(t, s, func(app storage.AppenderV2) error {
			var err error
			for k := range series {
				err = errors.Join(err, put(app, at.Add(time.Duration(i)*time.Second), 1/float64(i*k+1), "__name__", "bounded", "k", fmt.Sprintf("%x", i*7919+k)))
			}
			return err
		})
	}
	st := s.Status()
	if st.Bytes > limit || st.Pending+int(st.Dropped) != rounds*series || st.Dropped == 0 || st.Samples != rounds*series {
		t.Errorf("%+v", st)
	}
}

// Damage in the queue costs what is damaged.
func TestRemoteQueueDamage(t *testing.T) {
	opts := store.RemoteOptions{URL: "http://" + freePort(t), Dir: t.TempDir(), MaxQueue: 1 << 20}
	fillQueue := func(s store.Store) {
		for i := range 200 {
			appendAll(t, s, func(app storage.AppenderV2) error {
				var err error
				for k := range 50 {
					err = errors.Join(err, put(app, base(), 1, "__name__", "q", "k", fmt.Sprintf("%x-%x", i*7919, k)))
				}
				return err
			})
		}
	}
	s := openRemote(t, opts)
	fillQueue(s)
	before := s.Status().Pending
	closeNow(t, s)
	flip(t, biggest(t, opts.Dir, "log/0*"), middle)
	s = openRemote(t, opts)
	st := s.Status()
	if len(st.Notes) == 0 || st.Pending == 0 || st.Pending >= before {
		t.Errorf("of %d: %+v", before, st)
	}
	fillQueue(s)
	if got := s.Status().Pending; got <= st.Pending {
		t.Errorf("and it goes on: %d, was %d", got, st.Pending)
	}
}

func closeNow(t *testing.T, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Nothing that is shown has a secret in it.
func TestRemoteHidesSecrets(t *testing.T) {
	c := commoncfg.DefaultHTTPClientConfig
	c.BasicAuth = &commoncfg.BasicAuth{Username: "ali", Password: "sesame"}
	s := openRemote(t, store.RemoteOptions{
		URL:      "http://" + freePort(t),
		WriteURL: "http://ali:sesame@" + freePort(t) + "/write?token=sesame",
		QueryURL: "http://ali:sesame@" + freePort(t),
		HTTP:     c,
	})
	appendAll(t, s, func(app storage.AppenderV2) error { return put(app, base(), 1, "__name__", "x") })
	eventually(t, "a failure", func() bool { return !s.Status().OK })
	shown := fmt.Sprintf("%+v", s.Status())
	_, _, err := s.Instant(t.Context(), "up", base())
	if err == nil {
		t.Error("nobody is there")
	}
	if shown += fmt.Sprint(err); strings.Contains(shown, "sesame") {
		t.Errorf("a secret is shown: %s", shown)
	}
}

// A server that does not let us in keeps us waiting, and what to see to is told.
func TestRemoteTellsTheWayIn(t *testing.T) {
	for status, want := range map[int]string{
		http.StatusUnauthorized: "basic_auth", http.StatusNotFound: "write_url",
	} {
		var open atomic.Bool
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !open.Load() {
				w.WriteHeader(status)
			}
		}))
		s := openRemote(t, store.RemoteOptions{URL: srv.URL})
		appendAll(t, s, func(app storage.AppenderV2) error { return put(app, base(), 1, "__name__", "waits") })
		eventually(t, "it is noticed", func() bool { return !s.Status().OK })
		if st := s.Status(); st.Pending != 1 || st.Dropped != 0 || !strings.Contains(st.Problem, want) {
			t.Errorf("%d: %+v", status, st)
		}
		open.Store(true)
		drained(t, s)
		srv.Close()
	}
}
