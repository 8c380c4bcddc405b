package testbed

import (
	"math"
	"testing"
	"time"
)

// erlangC is the probability of waiting in M/M/c at an offered load of a workers.
func erlangC(c int, a float64) float64 {
	term, sum := 1.0, 1.0
	for k := 1; k < c; k++ {
		term *= a / float64(k)
		sum += term
	}
	last := term * a / float64(c) / (1 - a/float64(c))
	return last / (sum + last)
}

// The mean wait of M/M/c is C(c, a)/(c mu - lambda).
func TestBoundIsMMc(t *testing.T) {
	for _, rho := range []float64{.6, .8} {
		s := steady(200*time.Second, rho, workers(1, 1, 2, 4, 8)...)
		s.Load.Seed = 12
		wait := erlangC(16, 16*rho) / (16*100 - s.Load.Rate)
		want := 10*time.Millisecond + time.Duration(wait*float64(time.Second))
		near(t, "mean of the bound", bound(t, s).Latency.Mean(), want, .02)
	}
}

// The mean is strictly below. A single quantile may be undercut by a hair, because the
// bound does not reorder and a lucky policy does.
func TestBoundIsBelowEveryPolicy(t *testing.T) {
	for _, name := range ScenarioNames() {
		s, err := NewScenario(name, ScenarioOptions{Scale: .2, Seed: 3})
		if err != nil {
			t.Fatal(err)
		}
		low := bound(t, s)
		if low.Success() != 1 {
			t.Errorf("%s: the bound loses requests: %s", name, low)
		}
		for policy, make := range policies(len(s.Backends)) {
			r := simulate(t, s, SimConfig{Policy: make, Retries: 2})
			if r.Sent != int64(r.Planned) || low.Sent != r.Sent {
				t.Fatalf("%s, %s: %d of %d requests ended", name, policy, r.Sent, r.Planned)
			}
			for _, q := range []float64{.9, .99, .999} {
				if float64(r.Quantile(q)) < .98*float64(low.Quantile(q)) {
					t.Errorf("%s: %s has %s at quantile %g, below the bound %s", name, policy, r.Quantile(q), q, low.Quantile(q))
				}
			}
			if r.All.Mean() < low.All.Mean() {
				t.Errorf("%s: %s has mean %s, below the bound %s", name, policy, r.All.Mean(), low.All.Mean())
			}
		}
	}
}

// What the oracle knows: the fault schedule ahead. Nothing is caught in a crash or a
// pause, and an outage costs what is left of it.
func TestBoundKnowsTheFuture(t *testing.T) {
	one := func(f Fault, at, demand time.Duration) time.Duration {
		plan, err := newSchedule(1, []Fault{f})
		if err != nil {
			t.Fatal(err)
		}
		o := oracle{plan: plan, free: make([]time.Duration, 1)}
		end, _ := o.soonest(Request{At: at, Demand: demand})
		return end
	}
	const s = time.Second
	for _, c := range []struct {
		fault            Fault
		at, demand, want time.Duration
	}{
		{Fault{Kind: Slow, At: 2 * s, For: 2 * s, Factor: 2}, 1 * s, 2 * s, 4 * s},
		{Fault{Kind: Slow, At: 2 * s, For: 2 * s, Factor: 4}, 0, 3 * s, 4*s + s/2},
		{Fault{Kind: Pause, At: 1 * s, For: 2 * s}, 0, 2 * s, 4 * s},
		{Fault{Kind: Error, At: 1 * s, For: 2 * s}, 0, 2 * s, 2 * s},
		{Fault{Kind: Error, At: 1 * s, For: 2 * s}, 2 * s, 2 * s, 5 * s},
		{Fault{Kind: Refuse, At: 1 * s, For: 2 * s}, 2 * s, 1 * s, 4 * s},
		{Fault{Kind: Reset, At: 1 * s, For: 2 * s}, 0, 2 * s, 5 * s},
		{Fault{Kind: Hang, At: 1 * s}, 0, 2 * s, forever},
		{Fault{Kind: Restart, At: 1 * s, For: 1 * s}, s / 2, 1 * s, 3 * s},
	} {
		if got := one(c.fault, c.at, c.demand); got != c.want {
			t.Errorf("%s: %s of work from %s ends at %s, want %s", c.fault, c.demand, c.at, got, c.want)
		}
	}
	ramp := one(Fault{Kind: Slow, At: 0, For: s, Factor: 3, Ramp: 2 * s}, 2*s, s)
	// Halfway down the ramp the factor is 2; to do 1 s of work x = t - 2 s solves the
	// integral of 1/(2-x), ln(2/(2-x)) = 1, for x below 1 s: ln 2 by then, the rest
	// at full speed.
	untilFull := math.Ln2
	if want := 3*s + time.Duration((1-untilFull)*float64(s)); (ramp - want).Abs() > 10*time.Millisecond {
		t.Errorf("work on a ramp ends at %s, want about %s", ramp, want)
	}
}
