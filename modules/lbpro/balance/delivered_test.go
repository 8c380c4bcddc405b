package balance

import (
	"testing"
	"time"
)

// A backend that sends headers at once and the rest of its answers late is as slow as one
// that sends all of it late.
func TestSlowRestIsSlow(t *testing.T) {
	for _, head := range []time.Duration{0, time.Millisecond} {
		w := newWorld(Adaptive{}, 7)
		var all []*server
		for i, mean := range []time.Duration{100 * time.Millisecond, 10 * time.Millisecond, 10 * time.Millisecond, 10 * time.Millisecond, 10 * time.Millisecond} {
			s := w.add(string(rune('a'+i)), 8, mean)
			s.head = head
			all = append(all, s)
		}
		w.run(3*time.Second, 1000)
		for _, s := range all {
			s.got = 0
		}
		w.run(20*time.Second, 1000)
		sum := 0
		for _, s := range all {
			sum += s.got
		}
		if share := float64(all[0].got) / float64(sum); share > 0.03 {
			t.Errorf("headers after %v: the slow backend gets %.1f %% of the requests, want 3 at most", head, 100*share)
		}
	}
}

// When requests wait in a backend's queue after their headers, its width is found all the
// same: otherwise it would count as one that any number can be given to.
func TestWidthIsOfWholeAnswers(t *testing.T) {
	share := func(head time.Duration) float64 {
		w := newWorld(Adaptive{}, 3)
		small, large := w.add("small", 2, 10*time.Millisecond), w.add("large", 16, 10*time.Millisecond)
		small.head, large.head = head, head
		w.run(20*time.Second, 1000)
		small.got, large.got = 0, 0
		w.run(10*time.Second, 1000)
		return float64(small.got) / float64(small.got+large.got)
	}
	early, late := share(time.Millisecond), share(0)
	if early > late+0.03 || early > 0.25 {
		t.Errorf("2 of 18 workers get %.1f %% of the requests with early headers, %.1f %% without", 100*early, 100*late)
	}
}

// What Delivered tells counts once, whether the tick comes between the first byte and the
// end or not.
func TestDeliveredCountsOnce(t *testing.T) {
	for name, c := range map[string]struct {
		between   int // ticks between first byte and end
		rest      time.Duration
		told      bool
		want      uint64
		wantSpeed float64 // 0 for any
	}{
		"untold":                {0, 0, false, 1, 1},
		"untold, after a tick":  {1, 0, false, 1, 1},
		"told":                  {0, 30 * time.Millisecond, true, 1, 0},
		"told, after ticks":     {3, 30 * time.Millisecond, true, 1, 0},
		"unknown":               {0, -1, true, 0, 1},
		"unknown, after a tick": {1, -1, true, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, "a")
			b := s.p.Get("a")
			a := &Attempt{Route: KeyOf("GET", "/", "")}
			b.Begin(a, s.now)
			s.now += 10 * time.Millisecond
			a.FirstByte(s.now, Success)
			for range c.between {
				s.tick()
			}
			if c.told {
				a.Delivered(s.now, c.rest)
				a.Delivered(s.now, time.Hour) // a second call does nothing
			}
			a.End(s.now, Canceled)
			s.tick()
			s.tick()
			if b.est.seen != c.want {
				t.Errorf("%d samples of the speed, want %d", b.est.seen, c.want)
			}
			if b.est.all < 0.9 || b.est.all > 1 {
				t.Errorf("%.2f outcomes, want one that has hardly faded", b.est.all)
			}
			if want := max(c.rest, 0).Seconds(); s.p.rest != want {
				t.Errorf("the rest takes %v s, want %v", s.p.rest, want)
			}
		})
	}
}

// More first bytes than the ring holds, ended in any order, leave no answer twice and lose
// only what the ring has lost.
func TestDeliveredAfterTheRingHasTurned(t *testing.T) {
	s := newStage(t, "a")
	b := s.p.Get("a")
	const n = 5 * ringSize
	all := make([]Attempt, n)
	for i := range all {
		all[i].Route = KeyOf("GET", "/", "")
		b.Begin(&all[i], s.now)
	}
	s.now += 10 * time.Millisecond
	for i := range all {
		all[i].FirstByte(s.now, Success)
	}
	s.tick()
	for i := range all {
		a := &all[(i*7)%n]
		a.Delivered(s.now, time.Millisecond)
		a.End(s.now, Canceled)
		if i%20 == 19 {
			s.tick()
		}
	}
	s.tick()
	if b.est.seen != n {
		t.Errorf("%d samples of the speed, want all %d: each was told after its first byte was taken in", b.est.seen, n)
	}
	if b.InFlight() != 0 || b.Waiting() != 0 {
		t.Errorf("%d in flight, %d waiting at the end", b.InFlight(), b.Waiting())
	}
}
