package balance

import (
	"strings"
	"testing"
	"time"
)

func TestScoreAgreesWithWhatAdaptiveChooses(t *testing.T) {
	s := newStage(t, "a", "b", "c", "d")
	for range 40 {
		for _, b := range s.p.Backends() {
			s.run(b, 1, Success)
		}
	}
	// d is busy: twelve requests wait there.
	d := s.p.Get("d")
	attempts := make([]Attempt, 12)
	for i := range attempts {
		d.Begin(&attempts[i], s.now)
	}
	if err := s.p.Get("c").SetWeight(0.01, s.now); err != nil {
		t.Fatal(err)
	}
	v := s.p.View(s.now)
	equal := map[string]bool{}
	for i := range v.Backends {
		x := &v.Backends[i]
		if x.Score.Equal {
			equal[x.ID] = true
		}
		if x.Score.Of != 4 || x.Score.Rank < 1 || x.Score.Rank > 4 {
			t.Errorf("%s is number %d of %d", x.ID, x.Score.Rank, x.Score.Of)
		}
	}
	if equal["d"] || len(equal) == 0 {
		t.Fatalf("equal to the best: %v; d has twelve requests waiting", equal)
	}
	for _, id := range s.choose() {
		if !equal[id] {
			t.Errorf("%s was chosen, but the view says that it is not among the best: %v", id, equal)
		}
	}
	if why := v.Backend("d").Score.Why; !strings.Contains(why, "12 in flight") {
		t.Errorf("why of d: %q, want its requests in flight", why)
	}
	for i := range attempts {
		attempts[i].End(s.now, Canceled)
	}
}

func TestViewTellsStateReasonAndLastError(t *testing.T) {
	s := newStage(t, "a", "b")
	a := s.p.Get("a")
	s.run(s.p.Get("b"), 10, Success)
	a.Failed("connection refused", s.now)
	at := s.now
	s.run(a, 5, ConnectFailure)
	v := s.p.View(s.now)
	x := v.Backend("a")
	if x.State != Ejected || x.Reason != ReasonConsecutive || !strings.Contains(x.Detail, "5 failures") {
		t.Errorf("state %v, reason %q, detail %q", x.State, x.Reason, x.Detail)
	}
	if x.LastError != "connection refused" || x.LastErrorAt != at {
		t.Errorf("last error %q at %v, want it at %v", x.LastError, x.LastErrorAt, at)
	}
	if x.Since > s.now || x.Until <= s.now || x.Ejections != 1 {
		t.Errorf("since %v, until %v, ejections in a row %d at %v", x.Since, x.Until, x.Ejections, s.now)
	}
	if n := a.Totals.Failures[ConnectFailure].Load(); n != 5 {
		t.Errorf("%d connect failures counted, want 5", n)
	}
	if x.Score.Takes || !strings.Contains(x.Score.Why, "ejected") || x.Health.Score != 0 {
		t.Errorf("takes %v, why %q, health %d", x.Score.Takes, x.Score.Why, x.Health.Score)
	}
	if b := v.Backend("b"); b.Health.Score != 100 || b.Health.State != 1 || b.Score.Rank != 1 {
		t.Errorf("the healthy one: %+v", b.Health)
	}
	if v.Backend("c") != nil {
		t.Error("found a backend that is not there")
	}
}

func TestViewMeasuresSilence(t *testing.T) {
	s := newStage(t, "a", "b")
	a := s.p.Get("a")
	s.run(a, 30, Success)
	s.run(s.p.Get("b"), 30, Success)
	var at Attempt
	at.Route = KeyOf("GET", "/", "")
	a.Begin(&at, s.now)
	began := s.now
	for range 100 {
		s.tick()
	}
	x := s.p.View(s.now).Backend("a")
	if x.Silence != s.now-began {
		t.Errorf("silence %v, want %v: since the request that waits", x.Silence, s.now-began)
	}
	if x.Health.Silence >= 0.5 || x.Health.Silence <= 0 || x.Health.Score >= 50 {
		t.Errorf("health of a backend silent for half a second: %+v", x.Health)
	}
	if !strings.Contains(x.Score.Why, "no answer for") {
		t.Errorf("why: %q", x.Score.Why)
	}
	at.End(s.now, Canceled)
}

func TestHealthPartsMultiply(t *testing.T) {
	o := DefaultOptions()
	for _, c := range []struct {
		name string
		view BackendView
		want int
	}{
		{"well", BackendView{Samples: 99, Speed: 1, SuccessRate: 1, Weight: WeightParts{Advised: 1}}, 100},
		{"half of the answers fail", BackendView{Samples: 99, Speed: 1, SuccessRate: 0.5, Weight: WeightParts{Advised: 1}}, 25},
		{"twice the median", BackendView{Samples: 99, Speed: 2, SuccessRate: 1, Weight: WeightParts{Advised: 1}}, 100},
		{"ten times the median", BackendView{Samples: 99, Speed: 10, SuccessRate: 1, Weight: WeightParts{Advised: 1}}, 20},
		{"a bad path", BackendView{Samples: 99, Speed: 1, SuccessRate: 1, Weight: WeightParts{Advised: 0.4}}, 40},
		{"hung", BackendView{Samples: 99, Speed: 1, SuccessRate: 1, Silence: 5 * time.Second, Weight: WeightParts{Advised: 1}}, 0},
		{"half open and slow", BackendView{State: HalfOpen, Samples: 99, Speed: 4, SuccessRate: 1, Weight: WeightParts{Advised: 1}}, 13},
		{"resting", BackendView{SuccessRate: 1, RestUntil: time.Second, Weight: WeightParts{Advised: 1}}, 50},
	} {
		if h := healthOf(&c.view, 1, o); h.Score != c.want {
			t.Errorf("%s: health %d (%+v), want %d", c.name, h.Score, h, c.want)
		}
	}
}
