package testbed

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// roundRobin, randomly and leastInFlight are policies simple enough to be checked
// against theory; leastInFlight breaks ties at random.
type roundRobin struct{ n, next int }

func (p *roundRobin) Pick(time.Duration) (int, any) {
	p.next++
	return p.next % p.n, nil
}
func (p *roundRobin) Done(any, time.Duration, time.Duration, bool) {}

type randomly struct {
	n int
	r *rand.Rand
}

func (p *randomly) Pick(time.Duration) (int, any)                { return p.r.IntN(p.n), nil }
func (p *randomly) Done(any, time.Duration, time.Duration, bool) {}

type leastInFlight struct {
	inflight       []int
	r              *rand.Rand
	ok, failed     int
	canceled, tick int
	ttfb           time.Duration
}

func (p *leastInFlight) Pick(time.Duration) (int, any) {
	best, ties := 0, 0
	for i, n := range p.inflight {
		switch {
		case i == 0 || n < p.inflight[best]:
			best, ties = i, 1
		case n == p.inflight[best]:
			if ties++; p.r.IntN(ties) == 0 {
				best = i
			}
		}
	}
	p.inflight[best]++
	return best, best
}

func (p *leastInFlight) Done(token any, _, ttfb time.Duration, ok bool) {
	p.inflight[token.(int)]--
	p.ttfb += ttfb
	if ok {
		p.ok++
	} else {
		p.failed++
	}
}
func (p *leastInFlight) Canceled(token any, _ time.Duration) {
	p.inflight[token.(int)]--
	p.canceled++
}
func (p *leastInFlight) Tick(time.Duration) { p.tick++ }

// policies makes each of them for n backends.
func policies(n int) map[string]func(int) SimPolicy {
	return map[string]func(int) SimPolicy{
		"round robin": func(i int) SimPolicy { return &roundRobin{n: n, next: i} },
		"random":      func(i int) SimPolicy { return &randomly{n, newRand(uint64(i), "random")} },
		"least in flight": func(i int) SimPolicy {
			return &leastInFlight{inflight: make([]int, n), r: newRand(uint64(i), "ties")}
		},
	}
}

func simulate(t *testing.T, s Scenario, cfg SimConfig) *SimResult {
	t.Helper()
	r, err := Simulate(s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func bound(t *testing.T, s Scenario) *Result {
	t.Helper()
	r, err := Clairvoyant(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func near(t *testing.T, what string, got, want time.Duration, tolerance float64) {
	t.Helper()
	if math.Abs(float64(got)/float64(want)-1) > tolerance {
		t.Errorf("%s is %s, theory says %s", what, got, want)
	}
}

// The sojourn time of M/M/1 is exponential with mean 1/(mu-lambda).
func TestSimulationOfMM1(t *testing.T) {
	s := steady(2500*time.Second, .7, workers(1)...)
	s.Load.Seed = 11
	want := 10 * time.Millisecond * 10 / 3 // 10 ms over 1 - 0.7
	for name, r := range map[string]*Result{
		"bound":      bound(t, s),
		"simulation": simulate(t, s, SimConfig{Policy: policies(1)["round robin"]}).Result,
	} {
		near(t, name+": mean", r.Latency.Mean(), want, .03)
		near(t, name+": p99", r.Quantile(.99), time.Duration(math.Log(100)*float64(want)), .05)
	}
}

// A random split of a Poisson process gives independent M/M/1 queues.
func TestRandomSplitIsMM1(t *testing.T) {
	s := steady(600*time.Second, .6, workers(1, 1, 1, 1)...)
	s.Load.Seed = 13
	r := simulate(t, s, SimConfig{Policy: policies(4)["random"]})
	near(t, "mean", r.Latency.Mean(), 25*time.Millisecond, .03)
	for i, b := range r.Backends {
		if share := float64(b.Answered) / float64(r.OK); math.Abs(share-.25) > .01 {
			t.Errorf("backend %d has share %.3f of a random split", i, share)
		}
	}
}

func TestSimulatedFaults(t *testing.T) {
	// One backend, and the fault in the second half of two seconds.
	for _, c := range []struct {
		kind FaultKind
		code int
		fate func(Stats) int64
	}{
		{Error, 500, func(s Stats) int64 { return s.Failed }},
		{Hang, 0, func(s Stats) int64 { return s.Hung }},
		{Refuse, 502, nil},
		{Reset, 502, func(s Stats) int64 { return s.Reset }},
		{Restart, 502, nil},
	} {
		s := steady(2*time.Second, .3, workers(4)...)
		s.Load.Timeout = time.Second
		s.Backends[0].Faults = []Fault{{Kind: c.kind, At: time.Second}}
		var policy *leastInFlight
		r := simulate(t, s, SimConfig{Delay: time.Millisecond, Policy: func(int) SimPolicy {
			policy = &leastInFlight{inflight: make([]int, 1), r: newRand(0, "")}
			return policy
		}})
		failed := r.Codes[c.code]
		if c.code == 0 {
			failed = r.Failures[FailureTimeout]
			if policy.canceled != int(failed) {
				t.Errorf("%s: policy was told of %d cancels, %d timed out", c.kind, policy.canceled, failed)
			}
		} else if policy.failed != int(failed) {
			t.Errorf("%s: policy was told of %d failures of %d", c.kind, policy.failed, failed)
		}
		if failed < r.Sent/3 || failed+r.OK != r.Sent || policy.ok != int(r.OK) {
			t.Errorf("%s: %d failed, result %s", c.kind, failed, r)
		}
		if c.fate != nil && c.fate(r.Backends[0]) != failed {
			t.Errorf("%s: backend stats %+v, %d failed", c.kind, r.Backends[0], failed)
		}
		if policy.inflight[0] != 0 {
			t.Errorf("%s: %d attempts were never ended", c.kind, policy.inflight[0])
		}
		if policy.tick < 200 {
			t.Errorf("%s: %d ticks in two seconds", c.kind, policy.tick)
		}
	}
}

func TestRetriesInSimulation(t *testing.T) {
	s := single(4*time.Second, Fault{Kind: Error})
	without := simulate(t, s, SimConfig{Policy: policies(5)["round robin"]})
	with := simulate(t, s, SimConfig{Policy: policies(5)["round robin"], Retries: 1})
	if without.Codes[500] == 0 || with.OK != with.Sent {
		t.Errorf("without retries %s, with one %s", without, with)
	}
	if got := with.Backends[2].Failed; got < without.Codes[500] {
		t.Errorf("retries lowered the errors given to %d", got)
	}
}

// hedger sends each request to two backends and takes the first answer.
type hedger struct {
	sim  *Sim
	sent map[*SimRequest][]*SimAttempt
}

func (h *hedger) Arrive(r *SimRequest) {
	for i := range 2 {
		h.sent[r] = append(h.sent[r], h.sim.Send(r, i, nil))
	}
}

func (h *hedger) Ended(a *SimAttempt) {
	h.sim.Answer(a)
	for _, other := range h.sent[a.Request] {
		h.sim.Cancel(other)
	}
	delete(h.sent, a.Request)
}

func TestBalancerMaySendTwice(t *testing.T) {
	s := steady(5*time.Second, .1, workers(4, 4)...)
	s.Backends[0].Faults = []Fault{{Kind: Pause, At: time.Second, For: 2 * time.Second}}
	var h *hedger
	r := simulate(t, s, SimConfig{Balancer: func(sim *Sim, _ int) SimBalancer {
		h = &hedger{sim, map[*SimRequest][]*SimAttempt{}}
		return h
	}})
	if r.OK != r.Sent || r.All.Max() >= time.Second || len(h.sent) != 0 {
		t.Errorf("hedged around a pause: %s, %d left over", r, len(h.sent))
	}
	if a, b := r.Backends[0], r.Backends[1]; a.Received != r.Sent || b.Received != r.Sent || a.Aborted == 0 {
		t.Errorf("backends: %+v and %+v", a, b)
	}
}

// Several balancers share the backends and take requests in turn.
func TestSeveralBalancers(t *testing.T) {
	s := steady(5*time.Second, .5, workers(2, 2)...)
	s.Balancers = 4
	var all []*leastInFlight
	r := simulate(t, s, SimConfig{Policy: func(int) SimPolicy {
		p := &leastInFlight{inflight: make([]int, 2), r: newRand(0, "")}
		all = append(all, p)
		return p
	}})
	if len(all) != 4 {
		t.Fatalf("%d policies", len(all))
	}
	for i, p := range all {
		if n := int64(p.ok); n < r.Sent/4 || n > r.Sent/4+1 {
			t.Errorf("balancer %d had %d of %d requests", i, n, r.Sent)
		}
	}
}

// The real backend and the simulated one are the same queue, and the real one has the
// network to pay as well. Only requests that arrive at almost the same moment may be
// served in another order, which moves the mean by little.
func TestRealBackendIsNeverFasterThanSimulated(t *testing.T) {
	s := Scenario{
		Backends: []BackendConfig{{Workers: 2, Faults: []Fault{
			{Kind: Slow, At: 500 * time.Millisecond, For: 500 * time.Millisecond, Factor: 3},
			{Kind: Pause, At: 1200 * time.Millisecond, For: 200 * time.Millisecond},
		}}},
		Load: Load{Rate: 150, Duration: 2 * time.Second, Service: Exponential(10 * time.Millisecond), Seed: 4},
	}
	virtual := simulate(t, s, SimConfig{Policy: policies(1)["round robin"]})
	b := start(t, s.Backends[0])
	s.Load.Epoch = time.Now()
	b.Begin(s.Load.Epoch)
	real, err := s.Load.Run(t.Context(), b.URL())
	if err != nil {
		t.Fatal(err)
	}
	if real.OK != real.Sent || virtual.OK != real.Sent {
		t.Fatalf("real %s, virtual %s", real, virtual)
	}
	if got, low := real.All.Mean(), virtual.All.Mean(); float64(got) < .95*float64(low) {
		t.Errorf("mean is %s in real time, %s in virtual time", got, low)
	}
}

func TestSimulateWantsOneKindOfBalancer(t *testing.T) {
	s := steady(time.Second, .5, workers(1)...)
	if _, err := Simulate(s, SimConfig{}); err == nil {
		t.Error("no balancer is taken")
	}
}
