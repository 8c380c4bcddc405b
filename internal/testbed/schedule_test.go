package testbed

import (
	"math"
	"testing"
	"time"
)

func compile(t *testing.T, speed float64, faults ...Fault) *schedule {
	t.Helper()
	s, err := newSchedule(speed, faults)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestScheduleIntegratesSpeed(t *testing.T) {
	const s = time.Second
	plan := compile(t, .5,
		Fault{Kind: Slow, At: 2 * s, For: 4 * s, Factor: 2},
		Fault{Kind: Slow, At: 4 * s, For: 4 * s, Factor: 5}, // overlaps for 2 s
		Fault{Kind: Pause, At: 10 * s, For: s},
	)
	for _, c := range []struct{ from, work, end time.Duration }{
		{-5 * s, s, -3 * s}, // before the epoch as at it
		{0, s, 2 * s},
		{0, s + s/4, 3 * s},
		{4 * s, s / 10, 6 * s},
		{4 * s, s / 10 * 3, 8 * s},
		{9 * s, s, 12 * s},
		{10 * s, 0, 10 * s},
	} {
		if got := plan.finish(c.from, c.work); (got-c.end).Abs() > time.Microsecond && c.work > 0 {
			t.Errorf("%s of work from %s ends at %s, want %s", c.work, c.from, got, c.end)
		}
		if got := plan.done(c.from, c.end); (got - c.work).Abs() > time.Microsecond {
			t.Errorf("from %s to %s %s of work is done, want %s", c.from, c.end, got, c.work)
		}
	}
}

func TestScheduleModes(t *testing.T) {
	const s = time.Second
	plan := compile(t, 1,
		Fault{Kind: Error, At: 1 * s, For: 9 * s, Code: 503},
		Fault{Kind: Hang, At: 3 * s, For: 2 * s}, // began later: wins
		Fault{Kind: Slow, At: 4 * s, Factor: 2},
	)
	for _, c := range []struct {
		at   time.Duration
		mode mode
		code int
	}{{0, serving, 0}, {s, failing, 503}, {3 * s, hanging, 0}, {4 * s, hanging, 0}, {5 * s, failing, 503}, {10 * s, serving, 0}} {
		if got := plan.at(c.at); got.mode != c.mode || got.code != c.code {
			t.Errorf("at %s: %+v", c.at, got)
		}
	}
	if got := plan.finish(2*s, s); got != 3*s {
		t.Errorf("work that ends as the hang begins ends at %s", got)
	}
	if got := plan.finish(2*s, s+1); got != forever {
		t.Errorf("work that the hang takes down ends at %s", got)
	}
}

func TestRampFallsToOne(t *testing.T) {
	const s = time.Second
	plan := compile(t, 1, Fault{Kind: Restart, At: s, For: s, Factor: 9, Ramp: 4 * s})
	previous := 10.0
	for at := 2 * s; at < 6*s; at += s / 8 {
		factor := 1 / plan.at(at).speed
		line := 1 + 8*(1-(at-2*s+s/16).Seconds()/4)
		if factor >= previous || math.Abs(factor-line) > 1e-6 {
			t.Errorf("at %s the factor is %g, the line has %g", at, factor, line)
		}
		previous = factor
	}
	if got := plan.at(6 * s).speed; got != 1 {
		t.Errorf("after the ramp the speed is %g", got)
	}
}
