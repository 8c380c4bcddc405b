package balance

import "time"

// Reason says why a backend is not serving.
type Reason string

// The reasons for an ejection.
const (
	ReasonNone         Reason = ""
	ReasonConsecutive  Reason = "consecutive_failures"
	ReasonFailureRatio Reason = "failure_ratio"
	ReasonSuccessRate  Reason = "success_rate"
	ReasonLatency      Reason = "latency"
	ReasonHung         Reason = "hung"
	ReasonOperator     Reason = "operator"
)

// Reasons lists every reason for an ejection.
var Reasons = []Reason{ReasonConsecutive, ReasonFailureRatio, ReasonSuccessRate, ReasonLatency, ReasonHung, ReasonOperator}

// health is what Tick knows of one backend's failures. Guarded by Backend.mu.
type health struct {
	since  time.Duration // when the state began
	reason Reason
	detail string // the numbers behind it
	until  time.Duration
	times  int           // ejections in a row; sets the length of the next
	good   time.Duration // since when it has served without ejection, for forgetting times
	brisk  bool          // the next recovery needs no slow start
	ramp   time.Duration // start of the slow start; 0 when none is under way

	buckets [healthBuckets]healthBucket
	at      int64 // index of the newest bucket since the origin

	slowWindow time.Duration // start of the current latency window
	slowN      float64       // samples in it
	slowSum    float64       // and their relative times, load taken out
	slow       int           // slow windows in a row

	sounded   time.Duration // when a silent backend was last given a request to see
	lastError string
	lastErrAt time.Duration
}

// healthBuckets divide EjectOptions.Window.
const healthBuckets = 10

type healthBucket struct{ ok, failed float64 }

// roll moves the window to now.
func (h *health) roll(now, window time.Duration) {
	i := int64(now / (window / healthBuckets))
	if i-h.at >= healthBuckets {
		clear(h.buckets[:])
	} else {
		for j := h.at + 1; j <= i; j++ {
			h.buckets[j%healthBuckets] = healthBucket{}
		}
	}
	h.at = max(h.at, i)
}

func (h *health) add(failed bool) {
	b := &h.buckets[h.at%healthBuckets]
	if failed {
		b.failed++
	} else {
		b.ok++
	}
}

// counts returns the good and failed outcomes in the window.
func (h *health) counts() (ok, failed float64) {
	for _, b := range h.buckets {
		ok += b.ok
		failed += b.failed
	}
	return ok, failed
}
