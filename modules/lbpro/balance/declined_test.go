package balance

import (
	"strings"
	"testing"
	"time"
)

// decline sends n requests to each backend; of every ten, tenths[i] are declined by the
// i-th.
func (s *stage) decline(n int, tenths ...int) {
	for i := range n {
		for k, b := range s.p.Backends() {
			o := Success
			if i%10 < tenths[k] {
				o = Declined
			}
			s.run(b, 1, o)
		}
	}
}

// One backend that declines what the others answer is asked less, says why, and is asked
// again after a while.
func TestOneThatDeclinesIsAskedLess(t *testing.T) {
	s := newStage(t, "a", "b", "c")
	s.decline(40, 10, 0, 0)
	v := s.p.View(s.now)
	a, b := v.Backend("a"), v.Backend("b")
	if a.Score.Cost < 10*b.Score.Cost {
		t.Errorf("cost %v of the one that declines, %v of another; want ten times as much at least", a.Score.Cost, b.Score.Cost)
	}
	if !strings.Contains(a.Score.Why, "declines") || strings.Contains(b.Score.Why, "declines") {
		t.Errorf("why: %q and %q; want only the first to tell of it", a.Score.Why, b.Score.Why)
	}
	if a.Ejections != 0 || a.State != Serving || a.SuccessRate < 0.99 {
		t.Errorf("it is %v after %d ejections, success rate %v: to decline is no failure", a.State, a.Ejections, a.SuccessRate)
	}
	s.now += 30 * time.Second
	s.tick()
	if a := s.p.View(s.now).Backend("a"); a.Score.Cost > 2 {
		t.Errorf("cost %v when nobody has asked it for 30 s", a.Score.Cost)
	}
}

// What all or most decline is the clients' doing.
func TestWhatMostDeclineIsTheClients(t *testing.T) {
	for _, tenths := range [][]int{{5, 5, 5}, {10, 10, 10}, {10, 10, 0}, {1, 0, 0}, {3, 2, 3}} {
		s := newStage(t, "a", "b", "c")
		s.decline(60, tenths...)
		for _, x := range s.p.View(s.now).Backends {
			if x.Declines != 0 || x.Score.Cost > 2 {
				t.Errorf("of ten requests %v are declined: %s counts as one that declines %v, at cost %v", tenths, x.ID, x.Declines, x.Score.Cost)
			}
		}
	}
}

// One that comes back from an ejection starts without what it declined before.
func TestRestoredBackendHasDeclinedNothing(t *testing.T) {
	s := newStage(t, "a", "b", "c")
	s.decline(40, 10, 0, 0)
	a := s.p.Get("a")
	a.mu.Lock()
	s.p.restore(a, s.now)
	a.mu.Unlock()
	s.tick()
	if x := s.p.View(s.now).Backend("a"); x.Declines != 0 || !(x.Score.Cost > 0 && x.Score.Cost <= 2) {
		t.Errorf("it counts as one that declines %v, at cost %v", x.Declines, x.Score.Cost)
	}
}
