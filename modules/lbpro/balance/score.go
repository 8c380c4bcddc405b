package balance

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Score is how [Adaptive] sees a backend now: value = cost · crowding, and cost = speed /
// success², more for one that answers 4xx where the others do not. Other policies choose by other things; then it still tells what the pool
// expects of the backend.
type Score struct {
	Value    float64
	Cost     float64 // see Backend.Cost
	Crowding float64 // how much longer a request takes for those in flight
	// Takes reports whether the backend takes ordinary requests now. Rank is its place
	// among those that do, 1 for the best, 0 when it does not; Of is their number.
	Takes    bool
	Rank, Of int
	// Equal reports whether it counts as equal to the best, so that requests are drawn
	// among them at random in proportion to weight.
	Equal bool
	// Why says all this in words and numbers.
	Why string
}

// score ranks the backends as Adaptive would with its default band.
func (v *View) score(all []*Backend) {
	takes := func(i int, backup bool) bool { return all[i].Open() && all[i].Backup() == backup }
	backups := true
	for i := range all {
		if takes(i, false) {
			backups = false
		}
	}
	var values []float64
	for i, b := range all {
		s := &v.Backends[i].Score
		s.Cost = b.Cost()
		if w := b.Weight(); w > 0 {
			s.Crowding = crowding(float64(v.Backends[i].InFlight+1), b.Width()*w)
		}
		s.Value = s.Cost * s.Crowding
		if s.Takes = takes(i, backups); s.Takes {
			values = append(values, s.Value)
		}
	}
	slices.Sort(values)
	for i := range v.Backends {
		s := &v.Backends[i].Score
		if !s.Takes {
			continue
		}
		better, _ := slices.BinarySearch(values, s.Value)
		s.Rank, s.Of, s.Equal = better+1, len(values), s.Value <= values[0]*(1+bandValue)
	}
}

// why says in words what the backend gets and from which numbers that follows.
func (x *BackendView) why(now time.Duration) string {
	left := func(t time.Duration) string { return short(max(0, t-now)) }
	switch {
	case x.State == Draining && x.Drain.Until > now:
		return "takes no new requests: draining; sticky sessions stay for " + left(x.Drain.Until)
	case x.State == Draining:
		return fmt.Sprintf("takes no new requests: draining, %d still in flight", x.InFlight)
	case x.State == Ejected && x.Until == 0:
		return "takes no requests: ejected by an operator until restored"
	case x.State == Ejected:
		return "takes no requests: ejected, a probe follows in " + left(x.Until)
	case x.State == HalfOpen && x.Probing:
		return "takes one request, the probe, which decides whether it is back"
	case x.State == HalfOpen:
		return "takes no requests until its probe is answered"
	case x.Weight.Effective == 0:
		return "takes no requests: its weight is 0"
	case x.Silence > 0:
		return fmt.Sprintf("avoided: no answer for %s, usually one every %s while requests wait", short(x.Silence), short(x.Gap))
	case x.RestUntil > 0:
		return "avoided for " + left(x.RestUntil) + ": it asked for that by Retry-After"
	case x.Limit > 0 && x.InFlight >= x.Limit:
		return fmt.Sprintf("full: %d of %d requests in flight", x.InFlight, x.Limit)
	case !x.Score.Takes && x.Backup:
		return "a backup: used when the others cannot serve"
	}
	return x.whyScore()
}

// whyScore says how the score of a backend that takes requests comes about.
func (x *BackendView) whyScore() string {
	var s strings.Builder
	c := &x.Score
	switch {
	case c.Equal && c.Of > 1:
		fmt.Fprintf(&s, "among the best of %d", c.Of)
	case c.Rank == 1:
		s.WriteString("the only one that takes requests")
	default:
		fmt.Fprintf(&s, "number %d of %d", c.Rank, c.Of)
	}
	fmt.Fprintf(&s, ": score %s = cost %s × crowding %s", num(c.Value), num(c.Cost), num(c.Crowding))
	if x.Samples == 0 {
		s.WriteString("; no answers yet, so it counts as the median")
	} else {
		fmt.Fprintf(&s, "; an idle request takes %s of the usual time", num(x.Speed))
		speed := c.Cost * x.SuccessRate * x.SuccessRate
		switch {
		case x.Declines > 0:
		case speed > x.Speed*1.05 && x.Waiting > 0:
			s.WriteString(", and its oldest request is overdue")
		case speed < x.Speed*0.95:
			s.WriteString(", forgiven in part because nobody has asked it lately")
		}
	}
	if x.SuccessRate < 0.995 {
		fmt.Fprintf(&s, "; %s %% of answers good", num(x.SuccessRate*100))
	}
	if x.Declines > 0 {
		fmt.Fprintf(&s, "; it declines %s %% of requests with 4xx, the others %s %%", num(100*x.Declines), num(100*x.UsualDeclines))
	}
	fmt.Fprintf(&s, "; %d in flight, width %s", x.InFlight, num(x.Width))
	if w := &x.Weight; w.Effective != 1 {
		fmt.Fprintf(&s, ", weight %s", num(w.Effective))
		if w.Ramp < 1 {
			fmt.Fprintf(&s, " (slow start at %.0f %%)", w.Ramp*100)
		}
		if w.Advised < 1 {
			fmt.Fprintf(&s, " (path health %s)", num(w.Advised))
		}
	}
	return s.String()
}

// num prints a number for people, to three digits.
func num(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// short prints a duration for people.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
