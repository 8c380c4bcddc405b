package lbpro

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// histogram counts durations for a classic and a native Prometheus histogram at once.
// Recording is two atomic additions, a fifth of what client_golang's takes, which looks
// its native buckets up in a map; every request records two durations. Both faces are
// read from the same counters, so they always agree.
//
// Native buckets are those of schema 3, eight to the octave. Where a classic bound falls
// into one, it is split there; the halves are added again for the native face.
type histogram struct {
	since time.Time
	sum   atomic.Int64 // nanoseconds
	cells [cells]atomic.Uint64
}

const (
	// The native buckets, in octaves of seconds: 2^-17 s is 8 µs, and what is shorter goes
	// into the zero bucket; 2^12 s is more than an hour, and what is longer counts as
	// that.
	histogramLow, histogramHigh = -17, 12
	histogramSchema             = 3

	natives = 1 + (histogramHigh-histogramLow)<<histogramSchema // with the zero bucket
	cells   = natives + len(classicBounds)
)

// classicBounds are the upper bounds of the classic buckets in seconds.
var classicBounds = [...]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

var (
	// octave has the upper bounds of the native buckets from ½ to 1, in the form that
	// math.Frexp gives: 2^(i/8)/2.
	octave [1 << histogramSchema]float64
	// splits has, for each native bucket, how many classic bounds lie below it and the one
	// inside it, +Inf if there is none.
	splits [natives]struct {
		below int
		at    float64
	}
	// nativeOf has the native bucket of each cell, classicOf the classic one.
	nativeOf, classicOf [cells]int
)

func init() {
	for i := range octave {
		octave[i] = math.Exp2(float64(i)/float64(len(octave))) / 2
	}
	cell := 0
	for n := range splits {
		s := &splits[n]
		s.at = math.Inf(1)
		for _, b := range classicBounds {
			switch k := nativeIndex(b); {
			case k < n:
				s.below++
			case k == n:
				s.at = b
			}
		}
		nativeOf[cell], classicOf[cell] = n, s.below
		cell++
		if !math.IsInf(s.at, 1) {
			nativeOf[cell], classicOf[cell] = n, s.below+1
			cell++
		}
	}
}

// nativeIndex returns the native bucket of a duration in seconds; 0 is the zero bucket.
func nativeIndex(seconds float64) int {
	frac, exp := math.Frexp(seconds)
	switch {
	case seconds <= 1.0/(1<<-histogramLow):
		return 0
	case exp > histogramHigh:
		return natives - 1
	}
	i := 0
	for i < len(octave) && octave[i] < frac {
		i++
	}
	return (exp-1-histogramLow)<<histogramSchema + i
}

// observe records one duration.
func (h *histogram) observe(d time.Duration) {
	seconds := d.Seconds()
	n := nativeIndex(seconds)
	s := &splits[n]
	cell := n + s.below
	if seconds > s.at {
		cell++
	}
	h.cells[cell].Add(1)
	h.sum.Add(int64(d))
}

// histogramMetric is a histogram with its labels, as prometheus gathers it.
type histogramMetric struct {
	of     *histogram
	desc   *prometheus.Desc
	labels []*dto.LabelPair
}

// Desc implements prometheus.Metric.
func (m *histogramMetric) Desc() *prometheus.Desc { return m.desc }

// Write implements prometheus.Metric.
func (m *histogramMetric) Write(out *dto.Metric) error {
	h := m.of
	var native [natives]uint64
	var classic [len(classicBounds) + 1]uint64
	total := uint64(0)
	for i := range h.cells {
		n := h.cells[i].Load()
		native[nativeOf[i]] += n
		classic[classicOf[i]] += n
		total += n
	}
	x := &dto.Histogram{
		SampleCount:      new(total),
		SampleSum:        new(time.Duration(h.sum.Load()).Seconds()),
		Schema:           new(int32(histogramSchema)),
		ZeroThreshold:    new(float64(1.0 / (1 << -histogramLow))),
		ZeroCount:        new(native[0]),
		CreatedTimestamp: timestamppb.New(h.since),
	}
	upTo := uint64(0)
	for i, b := range classicBounds {
		upTo += classic[i]
		x.Bucket = append(x.Bucket, &dto.Bucket{CumulativeCount: new(upTo), UpperBound: new(b)})
	}
	x.PositiveSpan, x.PositiveDelta = spans(native[1:], histogramLow<<histogramSchema+1)
	if len(x.PositiveSpan) == 0 && native[0] == 0 {
		// An empty span is how a native histogram without observations is told from a
		// classic one.
		x.PositiveSpan = []*dto.BucketSpan{{Offset: new(int32(0)), Length: new(uint32(0))}}
	}
	out.Label, out.Histogram = m.labels, x
	return nil
}

// spans writes counts as runs of buckets that are not empty; the first count is of the
// bucket with index first. A gap of one or two empty buckets is cheaper written out.
func spans(counts []uint64, first int) (list []*dto.BucketSpan, deltas []int64) {
	const worthAGap = 3
	end, last := first, int64(0) // behind the last bucket written, and its count
	write := func(n uint64) {
		deltas = append(deltas, int64(n)-last)
		last = int64(n)
	}
	for i, n := range counts {
		if n == 0 {
			continue
		}
		at := first + i
		switch gap := at - end; {
		case len(list) == 0:
			list = append(list, &dto.BucketSpan{Offset: new(int32(at)), Length: new(uint32(0))})
		case gap >= worthAGap:
			list = append(list, &dto.BucketSpan{Offset: new(int32(gap)), Length: new(uint32(0))})
		default:
			for range gap {
				write(0)
			}
			*list[len(list)-1].Length += uint32(gap)
		}
		write(n)
		*list[len(list)-1].Length++
		end = at + 1
	}
	return list, deltas
}

// labelPairs makes labels in the order that the exposition wants, by name.
func labelPairs(pool, backend string) []*dto.LabelPair {
	return []*dto.LabelPair{
		{Name: new("backend"), Value: new(backend)},
		{Name: new("pool"), Value: new(pool)},
	}
}

// Interface guards
var _ prometheus.Metric = (*histogramMetric)(nil)
