package lbpro

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/goleak"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// load answers probes with what it is told, and says who it is else.
func loaded(name string, inFlight int, seconds float64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/load" {
			fmt.Fprintf(w, `{"in_flight": %d, "latency_seconds": %g}`, inFlight, seconds)
			return
		}
		io.WriteString(w, name)
	}
}

// A backend that others keep busy is known by its answers to probes only.
func TestPrequalProbes(t *testing.T) {
	for _, handler := range []string{"lbpro", "reverse_proxy"} {
		t.Run(handler, func(t *testing.T) {
			busy := serve(t, loaded("busy", 200, 0.8))
			slow := serve(t, loaded("slow", 1, 0.9))
			free := serve(t, loaded("free", 1, 0.01))
			s := startSite(t, fmt.Sprintf(`%s %s %s %s {
				lb_policy lbpro.prequal {
					probe_uri /load
					probe_timeout 5s
					probe_age 1m
				}
				%s
			}`, handler, busy.addr, slow.addr, free.addr, map[string]string{"reverse_proxy": "transport lbpro"}[handler]))
			got := make(map[string]int)
			eventually(t, "requests go to the free backend", func() bool {
				clear(got)
				for range 40 {
					got[s.get("/").body]++
				}
				return got["free"] >= 36
			})
			if got["busy"] > 4 {
				t.Errorf("requests went to %v", got)
			}
		})
	}
}

func TestProberEndsWithItsConfiguration(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	pool := balance.NewPool("", balance.DefaultOptions())
	b := pool.Join("127.0.0.1:1", 0)
	p := newProber(ctx, parent{}, &LoadProbe{URI: "/load"}, new(balance.Prequal))
	for range 10 * probeQueue { // more than it takes: the rest is dropped
		p.ask(b)
	}
	cancel()
	p.ask(b)
}

func TestProberRefusesWhatCannotBe(t *testing.T) {
	for body, ok := range map[string]bool{
		`{"in_flight": 3, "latency_seconds": 0.02}`:          true,
		`{"in_flight": 0, "latency_seconds": 1e-6, "x": []}`: true,
		`{"latency_seconds": 0.02}`:                          false,
		`{"in_flight": 3}`:                                   false,
		`{"in_flight": -1, "latency_seconds": 1}`:            false,
		`{"in_flight": 99999999999, "latency_seconds": 1}`:   false,
		`{"in_flight": 1, "latency_seconds": 0}`:             false,
		`{"in_flight": 1, "latency_seconds": 1e300}`:         false,
		`{"in_flight": "3", "latency_seconds": 1}`:           false,
		`[]`: false, `ok`: false, ``: false,
	} {
		if _, err := parseLoad([]byte(body)); (err == nil) != ok {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func FuzzParseLoad(f *testing.F) {
	f.Add([]byte(`{"in_flight": 3, "latency_seconds": 0.02}`))
	f.Add([]byte(`{"in_flight": 1e9}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		load, err := parseLoad(body)
		if err != nil {
			return
		}
		if d := time.Duration(load.LatencySeconds * float64(time.Second)); d < 0 || d > probeSeconds*time.Second || load.InFlight < 0 {
			t.Fatalf("%s: %+v is %v", body, load, d)
		}
	})
}
