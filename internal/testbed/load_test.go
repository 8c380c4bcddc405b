package testbed

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func plan(t *testing.T, l Load) []Request {
	t.Helper()
	p, err := l.Plan()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The gaps of a Poisson process are exponential: mean and standard deviation are both
// 1/rate, and counts in disjoint periods have a variance equal to their mean.
func TestArrivalsArePoisson(t *testing.T) {
	const rate = 1000
	p := plan(t, Load{Rate: rate, Duration: 100 * time.Second, Seed: 7})
	var sum, squares float64
	counts := make([]float64, 1000)
	for i, r := range p {
		if i > 0 {
			gap := (r.At - p[i-1].At).Seconds()
			sum += gap
			squares += gap * gap
		}
		counts[r.At/(100*time.Millisecond)]++
	}
	n := float64(len(p) - 1)
	mean := sum / n
	deviation := math.Sqrt(squares/n - mean*mean)
	if math.Abs(mean*rate-1) > 0.015 || math.Abs(deviation*rate-1) > 0.02 {
		t.Errorf("gaps have mean %.6f s and deviation %.6f s, want %.6f s", mean, deviation, 1.0/rate)
	}
	var variance float64
	for _, c := range counts {
		variance += (c - 100) * (c - 100) / float64(len(counts))
	}
	// The index of dispersion of 1000 Poisson counts has a deviation of 0.045.
	if d := variance / 100; math.Abs(d-1) > 0.18 {
		t.Errorf("index of dispersion is %.3f, want 1", d)
	}
}

func TestBurstMultipliesRate(t *testing.T) {
	p := plan(t, Load{Rate: 1000, Duration: 30 * time.Second, Bursts: []Burst{{At: 10 * time.Second, For: 10 * time.Second, Factor: 3}}})
	var n [3]float64
	for _, r := range p {
		n[r.At/(10*time.Second)]++
	}
	for i, want := range []float64{10000, 30000, 10000} {
		if math.Abs(n[i]/want-1) > 0.05 {
			t.Errorf("period %d has %g requests, want about %g", i, n[i], want)
		}
	}
}

func TestPlanIsReproducible(t *testing.T) {
	l := Load{Rate: 500, Duration: 5 * time.Second, Seed: 1, Service: Exponential(10 * time.Millisecond)}
	a, b := plan(t, l), plan(t, l)
	if !slices.Equal(a, b) {
		t.Error("one seed gave two plans")
	}
	l.Seed = 2
	if slices.Equal(a, plan(t, l)) {
		t.Error("two seeds gave one plan")
	}
	l.Seed, l.Service = 1, Deterministic(time.Millisecond)
	for i, r := range plan(t, l) {
		if r.At != a[i].At {
			t.Fatal("another service distribution changed the arrivals")
		}
	}
}

func TestMixShares(t *testing.T) {
	p := plan(t, Load{
		Rate: 1000, Duration: 20 * time.Second, Service: Deterministic(1),
		Mix: []Endpoint{
			{Path: "/fast", Share: 9},
			{Path: "/slow", Share: 1, Service: Deterministic(2), Method: "HEAD", Hold: 3},
		},
	})
	var slow float64
	for _, r := range p {
		if r.Endpoint == 1 {
			slow++
			if r.Path != "/slow" || r.Method != "HEAD" || r.Demand != 2 || r.Hold != 3 {
				t.Fatalf("slow request is %+v", r)
			}
		} else if r.Path != "/fast" || r.Method != "GET" || r.Demand != 1 {
			t.Fatalf("fast request is %+v", r)
		}
	}
	if share := slow / float64(len(p)); math.Abs(share-0.1) > 0.01 {
		t.Errorf("share of the slow endpoint is %.3f", share)
	}
}

func TestDistributions(t *testing.T) {
	for _, c := range []struct {
		d         Distribution
		deviation float64 // over the mean
	}{
		{Exponential(10 * time.Millisecond), 1},
		{Deterministic(10 * time.Millisecond), 0},
		{Lognormal{10 * time.Millisecond, 0.5}, math.Sqrt(math.Exp(0.25) - 1)},
	} {
		r := newRand(3, "test")
		const n = 200_000
		var sum, squares float64
		for range n {
			x := float64(c.d.Sample(r)) / float64(10*time.Millisecond)
			sum += x
			squares += x * x
		}
		mean := sum / n
		deviation := math.Sqrt(max(0, squares/n-mean*mean))
		if math.Abs(mean-1) > 0.02 || math.Abs(deviation-c.deviation) > 0.03 || c.d.Mean() != 10*time.Millisecond {
			t.Errorf("%s: mean %.3f, deviation %.3f of 10ms; want 1 and %.3f", c.d, mean, deviation, c.deviation)
		}
	}
}

func TestLoadRuns(t *testing.T) {
	b := start(t, BackendConfig{Workers: 8})
	l := Load{Rate: 400, Duration: time.Second, Service: Exponential(5 * time.Millisecond), Bucket: 100 * time.Millisecond}
	b.Begin(time.Now())
	r, err := l.Run(t.Context(), b.URL())
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent != int64(r.Planned) || r.OK != r.Sent || r.Codes[200] != r.Sent || r.Success() != 1 {
		t.Errorf("result: %s of %d planned", r, r.Planned)
	}
	var sent, ok int64
	for _, p := range r.Timeline {
		sent, ok = sent+p.Sent, ok+p.OK
	}
	if sent != r.Sent || ok != r.OK || len(r.Timeline) != 10 {
		t.Errorf("timeline sums to %d sent, %d OK: %+v", sent, ok, r.Timeline)
	}
	if s := b.Stats(); s.Answered != r.OK {
		t.Errorf("backend answered %d of %d", s.Answered, r.OK)
	}
	if r.Quantile(0.5) < time.Millisecond || r.All.Max() < r.Quantile(.999) {
		t.Errorf("quantiles: %s", r)
	}
}

// A closed-loop tool would send a few requests into a stall of the server and see few
// slow ones; here every request due in the stall is sent and waits for its end.
func TestStallShowsInTheTail(t *testing.T) {
	b := start(t, BackendConfig{Workers: 64, Faults: []Fault{{Kind: Pause, At: 500 * time.Millisecond, For: 500 * time.Millisecond}}})
	epoch := time.Now()
	b.Begin(epoch)
	l := Load{Rate: 400, Duration: time.Second, Service: Deterministic(time.Millisecond), Epoch: epoch}
	r, err := l.Run(t.Context(), b.URL())
	if err != nil {
		t.Fatal(err)
	}
	if r.OK != int64(r.Planned) {
		t.Fatalf("result: %s", r)
	}
	// Half of the requests fall into the pause, evenly: a quarter wait for more than
	// 250 ms, a tenth for more than 400 ms.
	if q := r.Quantile(0.80); q < 250*time.Millisecond {
		t.Errorf("p80 is %s although a quarter of the requests waited for more than 250ms", q)
	}
	if q := r.Quantile(0.95); q < 380*time.Millisecond {
		t.Errorf("p95 is %s although a tenth of the requests waited for more than 400ms", q)
	}
}

func TestMaxInFlightDelaysButNeverOmits(t *testing.T) {
	b := start(t, BackendConfig{Workers: 64})
	l := Load{Rate: 1000, Duration: 300 * time.Millisecond, Service: Deterministic(40 * time.Millisecond), MaxInFlight: 10}
	r, err := l.Run(t.Context(), b.URL())
	if err != nil {
		t.Fatal(err)
	}
	if r.OK != int64(r.Planned) || r.Capped == 0 {
		t.Errorf("result: %s, %d capped", r, r.Capped)
	}
	// Ten at a time, 40 ms each: the 150th of some 300 requests, due at 150 ms, is
	// answered at 600 ms.
	if q := r.Quantile(0.5); q < 300*time.Millisecond {
		t.Errorf("p50 is %s, the wait for a slot is not counted", q)
	}
}

func TestFailuresAreNamed(t *testing.T) {
	for want, fault := range map[string]Fault{
		FailureTimeout: {Kind: Hang},
		FailureRefused: {Kind: Refuse},
		FailureReset:   {Kind: Reset},
	} {
		t.Run(want, func(t *testing.T) {
			b := start(t, BackendConfig{Faults: []Fault{fault}})
			if fault.Kind == Refuse {
				await(t, "port closed", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.front == nil })
			}
			l := Load{Rate: 200, Duration: 100 * time.Millisecond, Timeout: 150 * time.Millisecond}
			r, err := l.Run(t.Context(), b.URL())
			if err != nil {
				t.Fatal(err)
			}
			if r.Failures[want] != int64(r.Planned) || r.OK != 0 {
				t.Errorf("failures: %v of %d", r.Failures, r.Planned)
			}
			if q := r.Quantile(0.01); q < 149*time.Millisecond {
				t.Errorf("p1 is %s: failing fast must not lower a quantile", q)
			}
		})
	}
}

func TestErrorsAreCounted(t *testing.T) {
	b := start(t, BackendConfig{Faults: []Fault{{Kind: Error, Code: 503}}})
	r, err := Load{Rate: 500, Duration: 100 * time.Millisecond}.Run(t.Context(), b.URL())
	if err != nil {
		t.Fatal(err)
	}
	if r.Codes[503] != int64(r.Planned) || r.Success() != 0 {
		t.Errorf("result: %s", r)
	}
}

// A server may close an idle connection as a request is sent on it; that request goes
// out again on a new one.
func TestPooledConnectionClosed(t *testing.T) {
	b := start(t, BackendConfig{})
	c, err := newClient(b.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	deadline := time.Now().Add(20 * time.Second)
	if a := c.do(t.Context(), Request{Method: "GET", Path: "/"}, deadline); a.code != 200 || a.redials != 0 {
		t.Fatalf("first: %+v", a)
	}
	if err := b.Inject(Fault{Kind: Restart, For: 50 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	await(t, "down", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.front == nil })
	await(t, "up", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.front != nil })
	if a := c.do(t.Context(), Request{Method: "POST", Path: "/"}, deadline); a.failure == "" {
		t.Errorf("POST on a closed connection was sent twice: %+v", a)
	}
	if a := c.do(t.Context(), Request{Method: "GET", Path: "/"}, deadline); a.code != 200 {
		t.Errorf("GET: %+v", a)
	}
}

func TestRunStops(t *testing.T) {
	b := start(t, BackendConfig{Faults: []Fault{{Kind: Hang}}})
	limit, end := context.WithTimeout(t.Context(), 30*time.Second)
	defer end()
	ctx, cancel := context.WithCancel(limit)
	go func() {
		for b.Stats().Received == 0 && limit.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	r, err := Load{Rate: 100, Duration: time.Hour / 10}.Run(ctx, b.URL())
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if r == nil || r.Sent == 0 || r.Failures[FailureStopped] != r.Sent {
		t.Errorf("result: %v", r)
	}
}

func TestBadLoads(t *testing.T) {
	for want, l := range map[string]Load{
		"Rate":     {Duration: time.Second},
		"Duration": {Rate: 1},
		"Timeout":  {Rate: 1, Duration: 1, Timeout: -1},
		"burst":    {Rate: 1, Duration: 1, Bursts: []Burst{{}}},
		"Share":    {Rate: 1, Duration: 1, Mix: []Endpoint{{Path: "/"}}},
		"Bucket":   {Rate: 1, Duration: time.Hour, Bucket: time.Microsecond},
		"more":     {Rate: 1e9, Duration: time.Hour},
	} {
		if _, err := l.Run(t.Context(), "http://127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v", want, err)
		}
	}
	for _, u := range []string{"", "https://a:1", "http://a", "http://a:b"} {
		if _, err := (Load{Rate: 1, Duration: 1}).Run(t.Context(), u); err == nil {
			t.Errorf("URL %q: no error", u)
		}
	}
}
