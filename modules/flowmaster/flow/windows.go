package flow

import "time"

// WindowBuckets is how many buckets each window has.
const WindowBuckets = 60

// Window is a span of time up to now that is kept in buckets.
type Window uint8

// The windows: 60 buckets of 1 s, of 10 s and of 1 min.
const (
	LastMinute Window = iota
	LastTenMinutes
	LastHour
)

const windows = int(LastHour) + 1

var windowStep = [windows]int64{1, 10, 60} // seconds

// Step returns how long a bucket of the window is.
func (w Window) Step() time.Duration { return time.Duration(windowStep[w]) * time.Second }

// Span returns how long the window is.
func (w Window) Span() time.Duration { return WindowBuckets * w.Step() }

// String returns "1m", "10m" or "1h".
func (w Window) String() string { return [...]string{"1m", "10m", "1h"}[w] }

// ParseWindow is the inverse of String.
func ParseWindow(s string) (Window, bool) {
	for w := range Window(windows) {
		if w.String() == s {
			return w, true
		}
	}
	return 0, false
}

// LegTotals are totals by leg.
type LegTotals [legs]Totals

// Leg returns the totals of one leg.
func (t LegTotals) Leg(l Leg) Totals { return t[l] }

// All returns the totals of all legs together. A proxied request is in it
// twice: once for each leg.
func (t LegTotals) All() (all Totals) {
	for i := range t {
		all.Add(&t[i])
	}
	return all
}

func (t *LegTotals) add(o *LegTotals) {
	for i := range t {
		t[i].Add(&o[i])
	}
}

// ring holds the buckets of one window.
type ring struct {
	step    int64
	buckets [WindowBuckets]bucket
}

type bucket struct {
	start  int64 // in Unix seconds, a multiple of step
	totals LegTotals
}

// add adds what came in one second. A bucket is cleared when its place in the
// ring comes up again; a second older than what is there is left out.
func (r *ring) add(second int64, t *LegTotals) {
	start := second - second%r.step
	b := &r.buckets[start/r.step%WindowBuckets]
	if b.start < start {
		*b = bucket{start: start}
	}
	if b.start == start {
		b.totals.add(t)
	}
}

// Bucket is what came in one bucket of a window.
type Bucket struct {
	Start  time.Time
	Totals LegTotals
}

// read returns the buckets up to and with the one of second, oldest first.
// Buckets in which nothing came are there too, and empty.
func (r *ring) read(second int64) []Bucket {
	out := make([]Bucket, WindowBuckets)
	last := second - second%r.step
	for i := range out {
		start := last - int64(WindowBuckets-1-i)*r.step
		out[i].Start = time.Unix(start, 0).UTC()
		if start < 0 {
			continue
		}
		if b := &r.buckets[start/r.step%WindowBuckets]; b.start == start {
			out[i].Totals = b.totals
		}
	}
	return out
}
