package balance

import (
	"math"
	"time"
)

// Health is how well a backend is, from 0 to 100:
//
//	score = 100 · state · success · latency · silence · rest · path
//
// Each factor is from 0 to 1, and 1 when nothing is wrong, so that the smallest one says
// what is. A score of 100 says nothing about load: a backend may be well and busy. A
// drain takes nothing away: it is an operator's wish, not an illness.
type Health struct {
	Score int

	// State is 1, or 0.25 while half open and 0 while ejected.
	State float64
	// Success is the square of the success rate of the last seconds.
	Success float64
	// Latency is 1 up to twice the pool's median time, load and kind of request taken
	// out, and falls in inverse proportion above it, once there
	// were 20 answers.
	Latency float64
	// Silence is 1 while the backend answers, 0.5 as soon as it is silent, and falls to
	// 0 at the time from which it counts as hung.
	Silence float64
	// Rest is 0.5 while the backend wants less by Retry-After.
	Rest float64
	// Path is the health of the network path as advised.
	Path float64
}

const (
	healthHalfOpen  = 0.25
	healthSilent    = 0.5
	healthResting   = 0.5
	healthSamples   = 20 // answers before their speed is judged
	healthLatency   = 2  // times the median that are still well
	healthSilentEnd = 5 * time.Second
)

func healthOf(x *BackendView, median float64, o Options) Health {
	h := Health{State: 1, Success: x.SuccessRate * x.SuccessRate, Latency: 1, Silence: 1, Rest: 1, Path: x.Weight.Advised}
	switch x.State {
	case Ejected:
		h.State = 0
	case HalfOpen:
		h.State = healthHalfOpen
	}
	if x.Samples >= healthSamples {
		// The cost forgives what was slow when it was last asked, with time.
		speed := x.Speed
		if c := x.Score.Cost * h.Success; c > 0 {
			speed = min(speed, c)
		}
		h.Latency = min(1, healthLatency*median/speed)
	}
	if x.Silence > 0 {
		end := o.Eject.Hang
		if end <= 0 {
			end = healthSilentEnd
		}
		h.Silence = healthSilent * max(0, 1-float64(x.Silence)/float64(end))
	}
	if x.RestUntil > 0 {
		h.Rest = healthResting
	}
	h.Score = int(math.Round(100 * h.State * h.Success * h.Latency * h.Silence * h.Rest * h.Path))
	return h
}
