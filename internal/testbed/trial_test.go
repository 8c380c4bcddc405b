package testbed

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// proxyOver starts a round-robin proxy that answers 502 when its backend fails.
func proxyOver(t *testing.T, backends []string) string {
	t.Helper()
	var next atomic.Uint64
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			i := next.Add(1) % uint64(len(backends))
			r.SetURL(&url.URL{Scheme: "http", Host: backends[i]})
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(func() { server.Close(); transport.CloseIdleConnections() })
	return server.URL
}

func TestTrialThroughAProxy(t *testing.T) {
	s, err := NewScenario("errors", ScenarioOptions{Scale: .1, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	s.Load.Rate /= 3
	s.Balancers = 2
	epochs := 0
	o, err := Trial{
		Scenario: s, Warmup: 100 * time.Millisecond, OnEpoch: func() { epochs++ },
		Start: func(_ context.Context, _ int, backends []string) (string, error) {
			if len(backends) != 5 {
				t.Errorf("%d backends", len(backends))
			}
			return proxyOver(t, backends), nil
		},
	}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if epochs != 1 || o.Sent != int64(o.Planned) {
		t.Errorf("%d epochs, %d of %d sent", epochs, o.Sent, o.Planned)
	}
	// Round robin sends a fifth to each, and has every one to the faulty backend fail
	// for half of the run: a tenth in all.
	var received int64
	for _, b := range o.Backends {
		received += b.Received
	}
	if received != o.Sent {
		t.Errorf("backends received %d of %d", received, o.Sent)
	}
	if failed := o.Codes[500]; failed != o.Backends[2].Failed || failed+o.OK != o.Sent || failed < o.Sent/15 {
		t.Errorf("%d failed, backend 2 %+v, result %s", failed, o.Backends[2], o.Result)
	}
	// A run of two seconds leaves less than one after the fault.
	if len(o.Reactions) != 1 || o.Reactions[0].Stop != Never || o.Reactions[0].Return != Unmeasured {
		t.Errorf("reactions of round robin: %+v", o.Reactions)
	}
	if low := bound(t, s); o.Quantile(.9) < low.Quantile(.9) {
		t.Errorf("p90 %s is below the bound %s", o.Quantile(.9), low.Quantile(.9))
	}
}

func TestTrialReportsAStartThatFails(t *testing.T) {
	s, err := NewScenario("equal-60", ScenarioOptions{Scale: .01})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	_, err = Trial{Scenario: s, Start: func(context.Context, int, []string) (string, error) { return "", broken }}.Run(t.Context())
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "equal-60") {
		t.Errorf("error is %v", err)
	}
}

func TestSaturation(t *testing.T) {
	b := start(t, BackendConfig{Workers: 4})
	r, err := Saturation{Connections: 4, Duration: 300 * time.Millisecond}.Run(t.Context(), b.URL())
	if err != nil {
		t.Fatal(err)
	}
	if r.OK < 100 || r.Failed != 0 || r.Latency.Count() != r.OK || r.Elapsed < 300*time.Millisecond {
		t.Errorf("saturated: %+v", r)
	}
	if got := b.Stats().Answered; got != r.OK {
		t.Errorf("backend answered %d, clients had %d", got, r.OK)
	}
	b.Heal()
	if err := b.Inject(Fault{Kind: Error}); err != nil {
		t.Fatal(err)
	}
	r, err = Saturation{Connections: 1, Duration: 20 * time.Millisecond}.Run(t.Context(), b.URL())
	if err != nil || r.OK != 0 || r.Failed == 0 {
		t.Errorf("saturated with errors: %+v, %v", r, err)
	}
	if _, err := (Saturation{Connections: -1}).Run(t.Context(), b.URL()); err == nil {
		t.Error("a negative number of connections is taken")
	}
}

// A saturating client is closed-loop: two connections before one worker of 20 ms have
// no more than two requests inside, and 50 answers a second at most.
func TestSaturationIsClosedLoop(t *testing.T) {
	b := start(t, BackendConfig{Service: Deterministic(20 * time.Millisecond)})
	r, err := Saturation{Connections: 2, Duration: 200 * time.Millisecond}.Run(t.Context(), b.URL())
	if err != nil {
		t.Fatal(err)
	}
	if r.OK == 0 || r.Throughput() > 51 {
		t.Errorf("%d answers in %s of one worker of 20 ms", r.OK, r.Elapsed)
	}
}

func TestFreeAddrIsBelowEphemeralPorts(t *testing.T) {
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if port := ln.Addr().(*net.TCPAddr).Port; port < lowPort || port >= highPort {
		t.Errorf("port %d", port)
	}
}
