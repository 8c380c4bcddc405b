package balance

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"
)

// policies has every policy under its name in the configuration.
var policies = []struct {
	name string
	make func() Picker
	hash bool // places by key
}{
	{name: "adaptive", make: func() Picker { return Adaptive{} }},
	{name: "p2c", make: func() Picker { return TwoChoices{} }},
	{name: "peak_ewma", make: func() Picker { return PeakEWMA{} }},
	{name: "least_request", make: func() Picker { return LeastRequest{} }},
	{name: "least_time", make: func() Picker { return LeastTime{} }},
	{name: "smooth_round_robin", make: func() Picker { return new(RoundRobin) }},
	{name: "bounded_hash", make: func() Picker { return new(BoundedHash) }, hash: true},
	{name: "maglev", make: func() Picker { return new(Maglev) }, hash: true},
	{name: "prequal", make: func() Picker { return new(Prequal) }},
	{name: "prequal with probes", make: func() Picker { return &Prequal{Probe: func(*Backend) {}} }},
}

// poolOf returns a pool of n backends, with weights where given.
func poolOf(n int, weights ...float64) *Pool {
	o := DefaultOptions()
	o.Eject.Disabled, o.SlowStart.Window = true, 0
	p := NewPool("test", o)
	for i := range n {
		b := p.Join(fmt.Sprintf("10.1.%d.%d:80", i/256, i%256), 0)
		if i < len(weights) {
			b.SetWeight(weights[i], 0)
		}
	}
	p.Tick(time.Millisecond, time.Millisecond)
	return p
}

// prepared makes the tables of a hashing policy.
func prepared(p Picker, list []*Backend) Picker {
	if h, ok := p.(interface{ Prepare([]*Backend) }); ok {
		h.Prepare(list)
	}
	return p
}

// forEachPolicy runs f for every policy in pools of the given sizes.
func forEachPolicy(t *testing.T, sizes []int, f func(t *testing.T, p *Pool, pick Picker, hash bool)) {
	for _, n := range sizes {
		for _, x := range policies {
			t.Run(fmt.Sprintf("%s/%d", x.name, n), func(t *testing.T) {
				p := poolOf(n)
				f(t, p, prepared(x.make(), p.Backends()), x.hash)
			})
		}
	}
}

func TestPickOfNone(t *testing.T) {
	for _, x := range policies {
		if i := x.make().Pick(nil, new(Choice)); i != -1 {
			t.Errorf("%s: picked %d of an empty list", x.name, i)
		}
	}
	forEachPolicy(t, []int{1, 2, 9, 100}, func(t *testing.T, p *Pool, pick Picker, _ bool) {
		for _, b := range p.Backends() {
			b.state.Store(uint32(Ejected))
		}
		for key := range uint64(20) {
			if i := pick.Pick(p.Backends(), &Choice{Key: key}); i != -1 {
				t.Fatalf("picked %d though none is eligible", i)
			}
		}
	})
}

func TestPickOfOne(t *testing.T) {
	forEachPolicy(t, []int{1}, func(t *testing.T, p *Pool, pick Picker, _ bool) {
		for key := range uint64(20) {
			if i := pick.Pick(p.Backends(), &Choice{Key: key}); i != 0 {
				t.Fatalf("picked %d of one", i)
			}
			p.Backends()[0].inflight.Add(1)
		}
	})
}

// One backend is able among others that are each unable in a way of their own.
func TestPickOnlyTheEligible(t *testing.T) {
	forEachPolicy(t, []int{8, 70}, func(t *testing.T, p *Pool, pick Picker, _ bool) {
		for i, b := range p.Backends() {
			switch i % 8 {
			case 0:
				b.state.Store(uint32(Ejected))
			case 1:
				b.state.Store(uint32(Draining))
			case 2:
				b.SetWeight(0, 0)
			case 3:
				b.silent.Store(true)
			case 4:
				b.limit.Store(2)
				b.inflight.Store(2)
			case 5:
				b.resting.Store(true)
			case 6:
				b.backup.Store(true)
			case 7:
				if i != 7 {
					b.state.Store(uint32(HalfOpen))
				}
			}
		}
		for key := range uint64(200) {
			if i := pick.Pick(p.Backends(), &Choice{Key: key}); i != 7 {
				t.Fatalf("picked %d, only 7 is eligible", i)
			}
		}
	})
}

func TestPickAvoidsTheTried(t *testing.T) {
	forEachPolicy(t, []int{6}, func(t *testing.T, p *Pool, pick Picker, _ bool) {
		for key := range uint64(50) {
			c := Choice{Key: key}
			seen := make(map[int]bool)
			for range p.Backends() {
				i, _ := p.Choose(p.Backends(), pick, &c)
				if i < 0 || seen[i] {
					t.Fatalf("try %d went to %d, tried were %v", len(seen)+1, i, seen)
				}
				seen[i] = true
				c.Tried(p.Backends()[i])
			}
			if i, _ := p.Choose(p.Backends(), pick, &c); i < 0 {
				t.Fatal("with all tried none is chosen; one of them should be")
			}
		}
	})
}

// chi returns Pearson's statistic of counts against shares.
func chi(counts []int, shares []float64) float64 {
	n, sum := 0, 0.0
	for i, c := range counts {
		n += c
		sum += shares[i]
	}
	x := 0.0
	for i, c := range counts {
		want := float64(n) * shares[i] / sum
		x += (float64(c) - want) * (float64(c) - want) / want
	}
	return x
}

// chiLimit is what the statistic stays below but for once in a million, for k degrees of
// freedom (Wilson and Hilferty's approximation).
func chiLimit(k int) float64 {
	f := 2.0 / (9 * float64(k))
	x := 1 - f + 4.75*math.Sqrt(f)
	return float64(k) * x * x * x
}

func TestEqualBackendsAreDrawnAtRandom(t *testing.T) {
	forEachPolicy(t, []int{2, 7, 48, 100}, func(t *testing.T, p *Pool, pick Picker, _ bool) {
		const each = 400
		n := len(p.Backends())
		counts, even := make([]int, n), make([]float64, n)
		_, inTurn := pick.(*RoundRobin)
		c := new(Choice)
		for range each * n {
			c.Key = fastrand()
			if inTurn { // each instance starts somewhere
				pick = new(RoundRobin)
			}
			counts[pick.Pick(p.Backends(), c)]++
		}
		for i := range even {
			even[i] = 1
		}
		limit := chiLimit(n - 1)
		switch pick.(type) {
		case *Maglev:
			limit += 2 // the table is even, up to a slot
		case *BoundedHash:
			// 2^16 kinds are dealt out at random: more of a spread than keys have.
			limit *= 1 + float64(each*n)/hashKinds
		}
		if x := chi(counts, even); x > limit {
			t.Errorf("chi² is %.1f, above %.1f: %v", x, limit, counts)
		}
	})
}

// When nothing is in flight, every policy but those that place by capacity (adaptive and
// prequal go by the load that a request would meet) gives shares by weight.
func TestSharesOfAnIdlePoolGoByWeight(t *testing.T) {
	weights := []float64{1, 2, 4, 0.5, 3, 0}
	for _, x := range policies {
		switch x.name {
		case "adaptive", "prequal", "prequal with probes":
			continue
		}
		t.Run(x.name, func(t *testing.T) {
			p := poolOf(len(weights), weights...)
			pick := prepared(x.make(), p.Backends())
			counts := make([]int, len(weights))
			const n = 40000
			for range n {
				counts[pick.Pick(p.Backends(), &Choice{Key: fastrand()})]++
			}
			if counts[5] != 0 {
				t.Errorf("a backend of weight 0 got %d requests", counts[5])
			}
			limit := chiLimit(4)
			switch x.name {
			case "bounded_hash":
				limit *= 1 + n/hashKinds
			case "smooth_round_robin":
				limit = 0.1 // nothing is drawn
			}
			if got := chi(counts[:5], weights[:5]); got > limit {
				t.Errorf("chi² is %.1f, above %.1f: %v for %v", got, limit, counts, weights)
			}
		})
	}
}

// When requests pile up, those in flight go by weight.
func TestSharesOfALoadedPoolGoByWeight(t *testing.T) {
	weights := []float64{1, 2, 4, 0.5, 3}
	for _, x := range policies {
		t.Run(x.name, func(t *testing.T) {
			p := poolOf(len(weights), weights...)
			pick := prepared(x.make(), p.Backends())
			const n = 2100
			for range n {
				p.Enter()
				p.Backends()[pick.Pick(p.Backends(), &Choice{Key: fastrand()})].inflight.Add(1)
			}
			for i, b := range p.Backends() {
				want := n * weights[i] / 10.5
				if got := float64(b.InFlight()); math.Abs(got-want) > 0.1*want+5*math.Sqrt(want) {
					t.Errorf("weight %v has %v in flight, want about %.0f", weights[i], got, want)
				}
			}
		})
	}
}

func TestPickDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	forEachPolicy(t, []int{2, 8, 200}, func(t *testing.T, p *Pool, pick Picker, _ bool) {
		c := new(Choice)
		for key := range uint64(4) { // what is worked out once
			c.Key = key
			pick.Pick(p.Backends(), c)
		}
		if n := testing.AllocsPerRun(500, func() {
			c.Key = c.Key*31 + 7
			pick.Pick(p.Backends(), c)
		}); n != 0 {
			t.Errorf("%v allocations a choice", n)
		}
	})
}

// Choices, attempts, ticks, weights and membership all at once.
func TestPoliciesUnderConcurrency(t *testing.T) {
	forEachPolicy(t, []int{12}, func(t *testing.T, p *Pool, pick Picker, _ bool) {
		if q, ok := pick.(*Prequal); ok && q.Probe != nil {
			q.Probe = func(b *Backend) { q.Report(b, int(b.InFlight()), time.Millisecond, time.Second) }
		}
		list := p.Backends()
		var work, control sync.WaitGroup
		stop := make(chan struct{})
		control.Go(func() {
			for now := time.Second; ; now += time.Millisecond {
				select {
				case <-stop:
					return
				default:
				}
				p.Tick(now, time.Millisecond)
				list[0].SetWeight(float64(now/time.Millisecond%3), now)
			}
		})
		for range 4 {
			work.Go(func() {
				var a Attempt
				c := new(Choice)
				for k := range 2000 {
					p.Enter()
					now := time.Second + time.Duration(k)*time.Millisecond
					*c = Choice{Key: fastrand()}
					mine := list
					if k%3 == 0 {
						mine = list[:6]
					}
					i, _ := p.Choose(mine, pick, c)
					if i < 0 || i >= len(mine) {
						t.Errorf("chose %d of %d", i, len(mine))
						p.Exit()
						return
					}
					mine[i].Begin(&a, now)
					a.FirstByte(now+time.Millisecond, Success)
					a.End(now+time.Millisecond, Success)
					p.Exit()
				}
			})
		}
		work.Wait()
		close(stop)
		control.Wait()
		for _, b := range list {
			if n := b.InFlight(); n != 0 {
				t.Errorf("%s is left with %d in flight", b.ID, n)
			}
		}
	})
}
