package balance

import (
	"testing"
	"time"
)

// A long poll waits for a minute on a backend that has nothing else to do; then a request
// that is usually fast is a little late there. That is a little silence, not a minute of
// it: nothing is ejected as hung.
func TestLongPollDoesNotMakeABackendHung(t *testing.T) {
	const tick = 5 * time.Millisecond
	p := NewPool("t", DefaultOptions())
	now := time.Second
	backends := []*Backend{p.Join("a", 0), p.Join("b", 0), p.Join("c", 0)}
	fast, poll := KeyOf("GET", "/fast", ""), KeyOf("GET", "/poll", "")
	for range 100 {
		for _, b := range backends {
			a := &Attempt{Route: fast}
			b.Begin(a, now)
			a.FirstByte(now+2*time.Millisecond, Success)
			a.End(now+2*time.Millisecond, Canceled)
		}
		now += tick
		p.Tick(now, tick)
	}
	b := backends[0]
	long := &Attempt{Route: poll}
	b.Begin(long, now)
	for end := now + time.Minute; now < end; now += tick {
		p.Tick(now, tick)
	}
	late := &Attempt{Route: fast, Hedge: noHedge{}}
	b.Begin(late, now)
	silent := false
	for range 20 { // 100 ms, fifty times the usual
		now += tick
		p.Tick(now, tick)
		silent = silent || b.Silent()
	}
	if !silent {
		t.Error("the late request shows no silence at all, so this test shows nothing")
	}
	if s := b.State(); s != Serving {
		t.Errorf("the backend is %v", s)
	}
	late.FirstByte(now, Success)
	late.End(now, Canceled)
	long.End(now, Canceled)
}

// noHedge could be hedged, but never is.
type noHedge struct{}

func (noHedge) StartHedge(HedgeReason) {}
