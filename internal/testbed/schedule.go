package testbed

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"time"
)

const (
	// forever is a moment that never comes.
	forever = time.Duration(math.MaxInt64)
	// before is earlier than any moment.
	before = time.Duration(math.MinInt64 / 2)
)

// rampSteps is the number of steps that stand for the straight line of a ramp.
const rampSteps = 32

// mode is what a backend does with a request that arrives.
type mode int

const (
	serving mode = iota
	failing
	hanging
	refusing
	resetting
	down
)

// segment is a period in which a backend's behaviour does not change. It lasts until
// the next segment's beginning.
type segment struct {
	from       time.Duration
	mode       mode
	speed      float64 // work done per unit of time; 0 while nothing progresses
	code       int
	retryAfter time.Duration
}

// kills reports whether a segment takes down the work inside when it begins.
func (s segment) kills() bool { return s.mode == hanging || s.mode == resetting || s.mode == down }

// schedule is a backend's behaviour over all time. It is immutable; the real backend
// and the simulated one read the same.
type schedule struct {
	segments []segment // sorted by from; what holds at 0 holds before, too
}

// newSchedule compiles faults over a base speed. Speeds of faults that overlap
// multiply; of two that overlap and decide what becomes of a request, the one that
// began later wins.
func newSchedule(speed float64, faults []Fault) (*schedule, error) {
	bounds := []time.Duration{0}
	for _, f := range faults {
		if err := f.validate(); err != nil {
			return nil, fmt.Errorf("fault schedule: %w", err)
		}
		bounds = append(bounds, f.At)
		end := f.end()
		if end == forever {
			continue
		}
		bounds = append(bounds, end)
		if f.Ramp > 0 && f.Factor > 1 {
			for i := 1; i <= rampSteps; i++ {
				bounds = append(bounds, end+f.Ramp*time.Duration(i)/rampSteps)
			}
		}
	}
	slices.Sort(bounds)
	bounds = slices.Compact(bounds)
	s := &schedule{}
	for _, t := range bounds {
		s.segments = append(s.segments, segmentAt(t, speed, faults))
	}
	s.segments[0].from = before
	return s, nil
}

func segmentAt(t time.Duration, speed float64, faults []Fault) segment {
	seg := segment{from: t, speed: speed}
	began := time.Duration(-1)
	for _, f := range faults {
		if t < f.At {
			continue
		}
		end := f.end()
		if t >= end {
			seg.speed /= f.rampFactor(t - end)
			continue
		}
		m := serving
		switch f.Kind {
		case Slow:
			seg.speed /= f.Factor
		case Pause:
			seg.speed = 0
		case Error:
			m = failing
		case Hang:
			m = hanging
		case Refuse:
			m = refusing
		case Reset:
			m = resetting
		case Restart:
			m = down
		}
		if m != serving && f.At > began {
			began, seg.mode = f.At, m
			seg.code, seg.retryAfter = 0, 0
			if m == failing {
				seg.code, seg.retryAfter = f.code(), f.RetryAfter
			}
		}
	}
	if seg.kills() {
		seg.speed = 0
	}
	return seg
}

// rampFactor returns by how much the service time is multiplied a while after the
// fault's end: the mean over the step of the ramp that begins then.
func (f Fault) rampFactor(since time.Duration) float64 {
	if since >= f.Ramp || f.Factor <= 1 {
		return 1
	}
	step := f.Ramp / rampSteps
	return 1 + (f.Factor-1)*(1-float64(since+step/2)/float64(f.Ramp))
}

// index returns the segment that holds at t.
func (s *schedule) index(t time.Duration) int {
	i := sort.Search(len(s.segments), func(i int) bool { return s.segments[i].from > t })
	return max(0, i-1)
}

// at returns the behaviour at t.
func (s *schedule) at(t time.Duration) segment { return s.segments[s.index(t)] }

// until returns when segment i ends.
func (s *schedule) until(i int) time.Duration {
	if i+1 < len(s.segments) {
		return s.segments[i+1].from
	}
	return forever
}

// finish returns when work begun at from is done, or forever when it never is: a
// fault takes it down first, or a pause does not end.
func (s *schedule) finish(from, work time.Duration) time.Duration {
	left := float64(work)
	for i := s.index(from); i < len(s.segments); i++ {
		seg := s.segments[i]
		if seg.kills() {
			return forever
		}
		begin, end := max(from, seg.from), s.until(i)
		if seg.speed > 0 {
			need := left / seg.speed
			if end == forever || need <= float64(end)-float64(begin) {
				if need >= float64(forever)-float64(begin) {
					return forever
				}
				return begin + time.Duration(math.Round(need))
			}
			left -= float64(end-begin) * seg.speed
		}
	}
	return forever
}

// done returns the work done between two moments by a worker that was busy.
func (s *schedule) done(from, to time.Duration) time.Duration {
	var sum float64
	for i := s.index(from); i < len(s.segments) && s.segments[i].from < to; i++ {
		begin, end := max(from, s.segments[i].from), min(to, s.until(i))
		sum += float64(end-begin) * s.segments[i].speed
	}
	return time.Duration(math.Round(sum))
}
