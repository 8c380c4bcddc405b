package balance

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// stage is a pool under a clock of the test's own.
type stage struct {
	t      *testing.T
	p      *Pool
	now    time.Duration
	events []Event
}

func newStage(t *testing.T, ids ...string) *stage {
	s := &stage{t: t, p: NewPool("test", DefaultOptions()), now: time.Second}
	s.p.OnEvent = func(e Event) { s.events = append(s.events, e) }
	for _, id := range ids {
		s.p.Join(id, s.now)
	}
	s.tick()
	return s
}

func (s *stage) tick() {
	s.now += 5 * time.Millisecond
	s.p.Tick(s.now, 5*time.Millisecond)
}

// run sends n requests to b one after the other, each taking a millisecond and ending
// with o, with a tick after each.
func (s *stage) run(b *Backend, n int, o Outcome) {
	for range n {
		var a Attempt
		a.Route = KeyOf("GET", "/", "")
		b.Begin(&a, s.now)
		s.now += time.Millisecond
		a.FirstByte(s.now, o)
		a.End(s.now, o)
		s.tick()
	}
}

// choose returns the ids that a hundred ordinary requests are sent to.
func (s *stage) choose() []string {
	var ids []string
	for range 100 {
		c := Choice{}
		i, _ := s.p.Choose(s.p.Backends(), Adaptive{}, &c)
		if i >= 0 && !slices.Contains(ids, s.p.Backends()[i].ID) {
			ids = append(ids, s.p.Backends()[i].ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func (s *stage) chosen(want ...string) {
	s.t.Helper()
	if got := s.choose(); !slices.Equal(got, want) {
		s.t.Errorf("requests went to %v, want %v", got, want)
	}
}

func (s *stage) kinds() []EventKind {
	var k []EventKind
	for _, e := range s.events {
		k = append(k, e.Kind)
	}
	return k
}

func TestDrainTakesNoNewRequestsUntilUndrained(t *testing.T) {
	s := newStage(t, "a", "b")
	a := s.p.Get("a")
	if others := a.Drain(0, "deploy", s.now); !others {
		t.Error("b serves, but Drain said that no other does")
	}
	s.chosen("b")
	s.run(s.p.Get("b"), 50, Success)
	if a.State() != Draining {
		t.Fatalf("state is %v after ticks, want draining", a.State())
	}
	if x := s.p.View(s.now).Backend("a"); x.Reason != ReasonOperator || x.Detail != "deploy" || x.Health.Score != 100 {
		t.Errorf("view of a drained backend: reason %q, detail %q, health %d", x.Reason, x.Detail, x.Health.Score)
	}
	if !a.Undrain(s.now) {
		t.Error("Undrain says that it was not draining")
	}
	if a.State() != Serving {
		t.Fatalf("state is %v after Undrain, want serving", a.State())
	}
	if w := s.p.View(s.now).Backend("a").Weight; w.Ramp != 0.1 {
		t.Errorf("slow start begins at %v, want 0.1", w.Ramp)
	}
	if a.Undrain(s.now) {
		t.Error("a second Undrain found something to do")
	}
	if got, want := s.kinds(), []EventKind{EventDrained, EventRestored}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func TestDrainKeepsStickySessionsToTheDeadline(t *testing.T) {
	s := newStage(t, "a", "b")
	a := s.p.Get("a")
	if a.KeepsSticky(s.now) {
		t.Error("a serving backend has no drain to keep sessions over")
	}
	deadline := s.now + time.Minute
	a.Drain(deadline, "", s.now)
	since := s.p.View(s.now).Backend("a").Since
	if !a.KeepsSticky(deadline-1) || a.KeepsSticky(deadline) {
		t.Error("sessions are kept up to the deadline and not longer")
	}
	s.now += time.Second
	a.Drain(0, "", s.now) // a second order moves the deadline, not the beginning
	if a.KeepsSticky(s.now) {
		t.Error("without a deadline sessions are not kept")
	}
	if got := s.p.View(s.now).Backend("a").Since; got != since {
		t.Errorf("the drain began at %v, a second order moved that to %v", since, got)
	}
}

func TestDrainOfTheOnlyBackendSaysSo(t *testing.T) {
	s := newStage(t, "a")
	if s.p.Get("a").Drain(0, "", s.now) {
		t.Error("Drain found another backend in a pool of one")
	}
	s.chosen()
}

func TestUndrainOfAnEjectedBackendProbesFirst(t *testing.T) {
	s := newStage(t, "a", "b")
	a := s.p.Get("a")
	s.run(a, 5, ConnectFailure)
	if a.State() != Ejected {
		t.Fatalf("five failures in a row left it %v", a.State())
	}
	a.Drain(0, "", s.now)
	a.Undrain(s.now)
	if a.State() != HalfOpen {
		t.Errorf("it was out before the drain and comes back %v, want half_open", a.State())
	}
}

func TestOperatorEjectsForATimeOrUntilRestored(t *testing.T) {
	s := newStage(t, "a", "b")
	a := s.p.Get("a")
	if err := a.Eject(10*time.Second, "looks odd", false, s.now); err != nil {
		t.Fatal(err)
	}
	s.chosen("b")
	if n := a.Totals.Ejections(ReasonOperator); n != 1 {
		t.Errorf("%d ejections counted, want 1", n)
	}
	s.now += 10 * time.Second
	s.tick()
	if a.State() != HalfOpen {
		t.Errorf("after its time it is %v, want half_open", a.State())
	}
	if err := a.Eject(0, "for good", false, s.now); err != nil {
		t.Fatal(err)
	}
	s.now += 24 * time.Hour
	s.tick()
	if a.State() != Ejected {
		t.Errorf("without a time it is %v after a day, want ejected", a.State())
	}
	if was, err := a.Restore(s.now); !was || err != nil {
		t.Errorf("Restore = %v, %v", was, err)
	}
	if a.State() != Serving {
		t.Errorf("restored it is %v", a.State())
	}
	if was, err := a.Restore(s.now); was || err != nil {
		t.Errorf("a second Restore = %v, %v", was, err)
	}
}

func TestOperatorCannotEjectTheLastUnlessForced(t *testing.T) {
	s := newStage(t, "a", "b")
	a, b := s.p.Get("a"), s.p.Get("b")
	if err := a.Eject(0, "", false, s.now); err != nil {
		t.Fatalf("ejecting down to the last: %v", err)
	}
	if err := b.Eject(0, "", false, s.now); !errors.Is(err, ErrLast) {
		t.Fatalf("ejecting the last: %v, want ErrLast", err)
	}
	if err := b.Eject(0, "", true, s.now); err != nil || b.State() != Ejected {
		t.Errorf("forced: %v, state %v", err, b.State())
	}
}

func TestDrainingRefusesEjectAndRestore(t *testing.T) {
	s := newStage(t, "a", "b")
	a := s.p.Get("a")
	a.Drain(0, "", s.now)
	if err := a.Eject(0, "", true, s.now); !errors.Is(err, ErrDraining) {
		t.Errorf("Eject: %v, want ErrDraining", err)
	}
	if _, err := a.Restore(s.now); !errors.Is(err, ErrDraining) {
		t.Errorf("Restore: %v, want ErrDraining", err)
	}
}

func TestOperatorWeightOutlivesConfigurations(t *testing.T) {
	s := newStage(t, "a", "b")
	a := s.p.Get("a")
	a.Configure(2, false, 0, s.now)
	if err := a.SetWeight(5, s.now); err != nil {
		t.Fatal(err)
	}
	a.Configure(5, false, 0, s.now) // a reload that happens to agree
	a.Configure(3, false, 0, s.now)
	if w := a.Weight(); w != 5 {
		t.Errorf("weight %v after reloads, want the operator's 5", w)
	}
	a.ClearWeight(s.now)
	if w := a.Weight(); w != 3 {
		t.Errorf("weight %v after clearing, want the configured 3", w)
	}
	for _, w := range []float64{-1, MaxWeight * 2} {
		if err := a.SetWeight(w, s.now); !errors.Is(err, ErrWeight) {
			t.Errorf("SetWeight(%v): %v, want ErrWeight", w, err)
		}
	}
	if err := a.SetWeight(0, s.now); err != nil {
		t.Fatal(err)
	}
	s.chosen("b")
}
