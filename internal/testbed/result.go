package testbed

import (
	"fmt"
	"slices"
	"strings"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Histogram is an HDR histogram of durations: microsecond units, three significant
// digits, up to an hour.
type Histogram struct{ h *hdr.Histogram }

// NewHistogram returns an empty histogram.
func NewHistogram() *Histogram { return &Histogram{hdr.New(1, int64(time.Hour/time.Microsecond), 3)} }

// Record adds one duration; those above an hour count as an hour, negative ones as 0.
func (h *Histogram) Record(d time.Duration) {
	// Inside its range RecordValue does not fail.
	_ = h.h.RecordValue(int64(min(max(0, d), time.Hour) / time.Microsecond))
}

// Quantile returns the value at q in [0, 1], 0 for an empty histogram.
func (h *Histogram) Quantile(q float64) time.Duration {
	return time.Duration(h.h.ValueAtQuantile(q*100)) * time.Microsecond
}

// Max returns the largest value, within the histogram's precision.
func (h *Histogram) Max() time.Duration { return time.Duration(h.h.Max()) * time.Microsecond }

// Mean returns the mean.
func (h *Histogram) Mean() time.Duration {
	return time.Duration(h.h.Mean() * float64(time.Microsecond))
}

// Count returns the number of values.
func (h *Histogram) Count() int64 { return h.h.TotalCount() }

// Period is one period of a timeline, by the intended moment of its requests.
type Period struct {
	Sent int64
	OK   int64
}

// Result is what the clients saw.
type Result struct {
	Planned int           // requests of the plan
	Sent    int64         // requests started; equal to Planned unless stopped
	OK      int64         // answered with a status of 200 to 399
	Codes   map[int]int64 // answers by status
	// Failures counts requests without an answer, by the Failure constants.
	Failures map[string]int64
	// Latency is that of the requests that were OK, from the intended moment to the
	// last byte, less the Hold that they asked for.
	Latency *Histogram
	// All is the latency of all requests; one that was not OK counts as having taken
	// Timeout, if it ended before, so that failing fast gains nothing.
	All *Histogram
	// Endpoints is Latency by endpoint of the mix; one without.
	Endpoints []*Histogram
	Timeout   time.Duration
	// Lag is how late requests were sent; a long one means that the machine could not
	// keep up and the run tells little of the system under test.
	Lag *Histogram
	// Capped counts requests that had to wait for Load.MaxInFlight.
	Capped int64
	// Redials counts pooled connections that turned out closed by the server.
	Redials int64
	// Timeline has a period for each Load.Bucket.
	Timeline []Period
	Bucket   time.Duration
	Elapsed  time.Duration
}

func newResult(l Load, plan []Request) *Result {
	r := &Result{
		Planned: len(plan), Codes: map[int]int64{}, Failures: map[string]int64{},
		Latency: NewHistogram(), All: NewHistogram(), Lag: NewHistogram(),
		Timeout: l.Timeout, Bucket: l.Bucket,
	}
	for range max(1, len(l.Mix)) {
		r.Endpoints = append(r.Endpoints, NewHistogram())
	}
	if l.Bucket > 0 {
		r.Timeline = make([]Period, (l.Duration+l.Bucket-1)/l.Bucket)
	}
	return r
}

func (r *Result) record(req Request, a answer, latency, lag time.Duration, capped bool) {
	r.Sent++
	r.Redials += int64(a.redials)
	r.Lag.Record(lag)
	if capped {
		r.Capped++
	}
	ok := a.code >= 200 && a.code < 400
	latency -= req.Hold
	if a.failure != "" {
		r.Failures[a.failure]++
	} else {
		r.Codes[a.code]++
	}
	if ok {
		r.OK++
		r.Latency.Record(latency)
		r.Endpoints[req.Endpoint].Record(latency)
		r.All.Record(latency)
	} else {
		r.All.Record(max(latency, r.Timeout))
	}
	if r.Bucket > 0 {
		p := &r.Timeline[req.At/r.Bucket]
		p.Sent++
		if ok {
			p.OK++
		}
	}
}

// Success returns the part of the requests that were OK, 0 to 1; 1 when none was
// sent.
func (r *Result) Success() float64 {
	if r.Sent == 0 {
		return 1
	}
	return float64(r.OK) / float64(r.Sent)
}

// Quantile returns a quantile of All, for q in [0, 1]: a request that failed counts
// as having taken at least Timeout.
func (r *Result) Quantile(q float64) time.Duration { return r.All.Quantile(q) }

// Throughput returns requests that were OK a second, over the whole run.
func (r *Result) Throughput() float64 { return float64(r.OK) / r.Elapsed.Seconds() }

// String sums the result up in a line.
func (r *Result) String() string {
	var failed []string
	for code, n := range r.Codes {
		if code < 200 || code >= 400 {
			failed = append(failed, fmt.Sprintf("%d: %d", code, n))
		}
	}
	for name, n := range r.Failures {
		failed = append(failed, fmt.Sprintf("%s: %d", name, n))
	}
	slices.Sort(failed)
	s := fmt.Sprintf("%d requests, %.3f %% OK, p50 %s p90 %s p99 %s p99.9 %s max %s", r.Sent, 100*r.Success(),
		r.Quantile(.5), r.Quantile(.9), r.Quantile(.99), r.Quantile(.999), r.All.Max())
	if len(failed) > 0 {
		s += " (" + strings.Join(failed, ", ") + ")"
	}
	return s
}
