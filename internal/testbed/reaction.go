package testbed

import "time"

const (
	// reactionWindow is the period over which an arrival rate is taken.
	reactionWindow = 200 * time.Millisecond
	stopShare      = 0.2
	returnShare    = 0.5
)

// Values of a reaction that is no time.
const (
	Never      = time.Duration(-1) // it did not come
	Unmeasured = time.Duration(-2) // it could not be seen
)

// afterwards is the shortest part of a run after a fault in which a return is looked
// for.
const afterwards = time.Second

// Reaction is how a balancer treated one backend around one fault.
type Reaction struct {
	Backend int
	Fault   Fault
	// Stop is the time from the fault's onset to the first moment from which on the
	// backend's arrival rate is below a fifth of its fair one, both over the next
	// 200 ms and over the rest of the fault; Never when there is none, Unmeasured for
	// Refuse and Restart, because a closed port sees no arrivals.
	Stop time.Duration
	// Return is the time from the fault's end to the first 200 ms in which the backend
	// gets at least half of its fair arrival rate; Never when there are none,
	// Unmeasured when the load ends within a second of the fault.
	Return time.Duration
}

// Reactions measures the reaction to each fault that begins after the epoch and lasts
// for at least a second, from each backend's statistics; the fair rate is the load's
// times FairShare.
func (s Scenario) Reactions(stats []Stats) []Reaction {
	var all []Reaction
	for i, b := range s.Backends {
		for _, f := range b.Faults {
			if f.At <= 0 || f.For < time.Second {
				continue
			}
			end := min(f.end(), s.Load.Duration)
			fair := s.Load.Rate * s.FairShare(i)
			r := Reaction{Backend: i, Fault: f, Stop: Unmeasured, Return: Unmeasured}
			if f.Kind != Refuse && f.Kind != Restart {
				r.Stop = stopped(stats[i], f.At, end, fair)
			}
			if end <= s.Load.Duration-afterwards {
				r.Return = returned(stats[i], end, s.Load.Duration, fair)
			}
			all = append(all, r)
		}
	}
	return all
}

func stopped(s Stats, onset, end time.Duration, fair float64) time.Duration {
	rest := s.Between(onset, end)
	for t := onset; t+reactionWindow <= end; t += SeriesStep {
		next := float64(s.Between(t, t+reactionWindow))
		if next < stopShare*fair*reactionWindow.Seconds() && float64(rest) < stopShare*fair*(end-t).Seconds() {
			return t - onset
		}
		rest -= s.Between(t, t+SeriesStep)
	}
	return Never
}

func returned(s Stats, end, horizon time.Duration, fair float64) time.Duration {
	for t := end; t+reactionWindow <= horizon; t += SeriesStep {
		if float64(s.Between(t, t+reactionWindow)) >= returnShare*fair*reactionWindow.Seconds() {
			return t - end
		}
	}
	return Never
}

// recovered is the part of requests in a period that must be OK for the pool to count
// as recovered.
const recovered = 0.99

// Recovery returns the time from the end of the last fault to the first period of the
// timeline from which on at least 99 % of the requests in each are OK, by their
// intended moments; Never when the last period is not. ok is false when the result has
// no timeline, or no fault ends before the load does.
func (s Scenario) Recovery(r *Result) (d time.Duration, ok bool) {
	var end time.Duration
	for _, b := range s.Backends {
		for _, f := range b.Faults {
			if f.end() < s.Load.Duration {
				end = max(end, f.end())
			}
		}
	}
	if end == 0 || r.Bucket == 0 {
		return 0, false
	}
	from := len(r.Timeline)
	for ; from > 0; from-- {
		if p := r.Timeline[from-1]; float64(p.OK) < recovered*float64(p.Sent) {
			break
		}
	}
	if from == len(r.Timeline) {
		return Never, true
	}
	return max(0, time.Duration(from)*r.Bucket-end), true
}
