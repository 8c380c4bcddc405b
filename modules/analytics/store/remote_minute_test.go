package store_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/storage"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// outageMinute is how long the server is away. It is a minute of the wall clock, as what is
// in the way of one are timeouts and pauses between tries.
const outageMinute = time.Minute

// The server is killed, is away for a minute while hundreds of series are collected every
// second, and comes back: every sample is there, and none twice.
func TestRemoteIsAwayForAMinute(t *testing.T) {
	if testing.Short() {
		t.Skip("takes more than a minute")
	}
	for _, kind := range []struct {
		name string
		make func(t *testing.T) *server
		// flush makes the server show what it has.
		flush string
	}{
		{"Prometheus", prometheusServer, ""},
		{"VictoriaMetrics", victoriaServer, "/internal/force_flush"},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			srv := kind.make(t)
			srv.start()
			t.Cleanup(srv.kill)
			s := openRemote(t, store.RemoteOptions{URL: "http://" + srv.address})
			const series = 300
			var times []time.Time
			add := func() {
				at := time.Now().Truncate(time.Millisecond)
				appendAll(t, s, func(app storage.AppenderV2) error {
					var err error
					for k := range series {
						err = errors.Join(err, put(app, at, float64(len(times)), "__name__", "away", "k", strconv.Itoa(k)))
					}
					return err
				})
				times = append(times, at)
			}
			ticker := time.NewTicker(time.Second)
			defer ticker.Stop()
			collect := func(until func() bool) {
				for !until() {
					<-ticker.C
					add()
				}
			}
			rounds := func(n int) func() bool {
				most := len(times) + n
				return func() bool { return len(times) >= most }
			}
			collect(rounds(5))
			srv.die()
			back := time.Now().Add(outageMinute)
			collect(func() bool { return time.Now().After(back) })
			if st := s.Status(); st.OK || st.Pending < 30*series || st.Dropped != 0 {
				t.Errorf("it waits, and says so: %+v", st)
			}
			srv.start()
			collect(rounds(5))
			drained(t, s)
			eventually(t, "it is well again", func() bool { return s.Status().OK })
			if kind.flush != "" {
				get(t, srv.address+kind.flush)
			}
			// Values count up by one: their sum tells one that is missing from one that is there twice.
			last := times[len(times)-1]
			for _, q := range []struct {
				expr string
				want float64
			}{
				{`count(count_over_time(away[10m]))`, series},
				{`min(count_over_time(away[10m]))`, float64(len(times))},
				{`max(count_over_time(away[10m]))`, float64(len(times))},
				{`sum(sum_over_time(away[10m]))`, float64(series * len(times) * (len(times) - 1) / 2)},
			} {
				if v := instant(t, s, q.expr, last); len(v) != 1 || v[0].F != q.want {
					t.Errorf("%s is %v, want %v", q.expr, v, q.want)
				}
			}
			if st := s.Status(); st.Dropped != 0 || st.Samples != uint64(series*len(times)) {
				t.Errorf("nothing was dropped of %d: %+v", series*len(times), st)
			}
		})
	}
}
