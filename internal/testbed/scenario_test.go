package testbed

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCatalogue(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range ScenarioNames() {
		if seen[name] {
			t.Errorf("%s: twice in the catalogue", name)
		}
		seen[name] = true
		s, err := NewScenario(name, ScenarioOptions{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		if s.About == "" || s.Balancers < 1 {
			t.Errorf("%s: incomplete", name)
		}
		if n := len(plan(t, s.Load)); n < 10_000 {
			t.Errorf("%s: %d requests tell nothing of a 99.9th percentile", name, n)
		}
		if u := s.Utilisation(); u <= 0 || u >= 1 {
			t.Errorf("%s: utilisation is %g", name, u)
		}
		var share float64
		for i, b := range s.Backends {
			share += s.FairShare(i)
			if _, err := newSchedule(1, b.Faults); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for _, f := range b.Faults {
				if f.At >= s.Load.Duration {
					t.Errorf("%s: %s comes after the end", name, f)
				}
			}
		}
		if math.Abs(share-1) > 1e-9 {
			t.Errorf("%s: fair shares sum to %g", name, share)
		}
	}
}

func TestScaleShortens(t *testing.T) {
	whole, err := NewScenario("errors", ScenarioOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tenth, err := NewScenario("errors", ScenarioOptions{Scale: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	if tenth.Load.Duration != whole.Load.Duration/10 || tenth.Load.Rate != whole.Load.Rate {
		t.Errorf("load at scale 0.1: %+v", tenth.Load)
	}
	if f := tenth.Backends[2].Faults[0]; f.At != 200*time.Millisecond {
		t.Errorf("fault at scale 0.1: %s", f)
	}
}

func TestUnknownScenario(t *testing.T) {
	_, err := NewScenario("nosuch", ScenarioOptions{})
	if err == nil || !strings.Contains(err.Error(), "equal-60") {
		t.Errorf("error does not list the names: %v", err)
	}
	if _, err := NewScenario("equal-60", ScenarioOptions{Scale: -1}); err == nil {
		t.Error("a negative scale is taken")
	}
}

func TestMeanDemand(t *testing.T) {
	s, err := NewScenario("mixed", ScenarioOptions{Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	var sum time.Duration
	p := plan(t, s.Load)
	for _, r := range p {
		sum += r.Demand
	}
	drawn, want := sum/time.Duration(len(p)), s.Load.MeanDemand()
	if math.Abs(float64(drawn)/float64(want)-1) > 0.1 {
		t.Errorf("mean of the demands drawn is %s, expected %s", drawn, want)
	}
}

// Arrivals at a fair 500/s, but for a fault from 2 s to 4 s: they stop 300 ms into it
// and come back 700 ms after.
func TestReactions(t *testing.T) {
	s := Scenario{Backends: workers(1, 1), Load: Load{Rate: 1000, Duration: 6 * time.Second}}
	s.Backends[1].Faults = []Fault{{Kind: Slow, At: 2 * time.Second, For: 2 * time.Second, Factor: 9}}
	fair := slices.Repeat([]uint32{5}, 600)
	bad := slices.Clone(fair)
	clear(bad[230:470])
	got := s.Reactions([]Stats{{Arrivals: fair}, {Arrivals: bad}})
	if len(got) != 1 || got[0].Backend != 1 {
		t.Fatalf("reactions: %+v", got)
	}
	// The first window below a fifth begins where 3 of its 20 buckets still have
	// arrivals; the first above half where 10 have.
	if got[0].Stop != 270*time.Millisecond || got[0].Return != 600*time.Millisecond {
		t.Errorf("stop %s, return %s", got[0].Stop, got[0].Return)
	}
	got = s.Reactions([]Stats{{Arrivals: fair}, {Arrivals: fair}})
	if got[0].Stop != Never || got[0].Return != 0 {
		t.Errorf("without a reaction: stop %s, return %s", got[0].Stop, got[0].Return)
	}
	got = s.Reactions([]Stats{{Arrivals: fair}, {Arrivals: bad[:230]}})
	if got[0].Return != Never {
		t.Errorf("without a return: %s", got[0].Return)
	}
	s.Backends[1].Faults[0].Kind = Refuse
	s.Load.Duration = 4500 * time.Millisecond
	got = s.Reactions([]Stats{{Arrivals: fair}, {Arrivals: bad}})
	if got[0].Stop != Unmeasured || got[0].Return != Unmeasured {
		t.Errorf("closed port, and half a second left: stop %s, return %s", got[0].Stop, got[0].Return)
	}
	s.Backends[1].Faults[0].At = 0
	if got = s.Reactions([]Stats{{Arrivals: fair}, {Arrivals: bad}}); len(got) != 0 {
		t.Errorf("reactions to a fault that was there from the start: %+v", got)
	}
}

func TestRecovery(t *testing.T) {
	s := steady(time.Second, .5, workers(1)...)
	r := &Result{Bucket: 100 * time.Millisecond, Timeline: slices.Repeat([]Period{{Sent: 100, OK: 100}}, 10)}
	if _, ok := s.Recovery(r); ok {
		t.Error("recovery from no fault")
	}
	s.Backends[0].Faults = []Fault{{Kind: Refuse, At: 200 * time.Millisecond, For: 200 * time.Millisecond}}
	if d, ok := s.Recovery(r); d != 0 || !ok {
		t.Errorf("nothing failed: %s, %t", d, ok)
	}
	r.Timeline[6].OK = 98
	if d, _ := s.Recovery(r); d != 300*time.Millisecond {
		t.Errorf("the period from 600 ms failed, the fault ended at 400 ms: %s", d)
	}
	r.Timeline[9].OK = 0
	if d, _ := s.Recovery(r); d != Never {
		t.Errorf("the last period failed: %s", d)
	}
}
