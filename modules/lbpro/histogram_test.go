package lbpro

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// What a histogram shows is what client_golang's shows of the same durations: every
// classic bucket, every native bucket.
func TestHistogramIsPrometheus(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	own := new(histogram)
	theirs := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "x", Buckets: classicBounds[:], NativeHistogramBucketFactor: 1.1,
		NativeHistogramZeroThreshold: 1.0 / (1 << -histogramLow),
	})
	see := func(d time.Duration) {
		own.observe(d)
		theirs.Observe(d.Seconds())
	}
	for _, b := range classicBounds { // the bounds themselves and their neighbours
		d := time.Duration(b * float64(time.Second))
		for _, d := range []time.Duration{d - 1, d, d + 1} {
			see(d)
		}
	}
	for range 5000 {
		see(time.Duration(rng.ExpFloat64() * float64(50*time.Millisecond)))
		see(time.Duration(rng.Int64N(int64(90 * time.Second))))
	}
	see(0)
	see(time.Microsecond)
	see(3000 * time.Second)

	var a, b dto.Metric
	if err := (&histogramMetric{of: own}).Write(&a); err != nil {
		t.Fatal(err)
	}
	if err := theirs.Write(&b); err != nil {
		t.Fatal(err)
	}
	x, y := a.Histogram, b.Histogram
	if x.GetSampleCount() != y.GetSampleCount() || x.GetSchema() != y.GetSchema() || x.GetZeroThreshold() != y.GetZeroThreshold() || x.GetZeroCount() != y.GetZeroCount() {
		t.Errorf("count, schema, threshold, zeros: %d %d %g %d, want %d %d %g %d", x.GetSampleCount(), x.GetSchema(), x.GetZeroThreshold(),
			x.GetZeroCount(), y.GetSampleCount(), y.GetSchema(), y.GetZeroThreshold(), y.GetZeroCount())
	}
	if d := x.GetSampleSum() - y.GetSampleSum(); d > 1e-3 || d < -1e-3 {
		t.Errorf("sum is %v, want %v", x.GetSampleSum(), y.GetSampleSum())
	}
	if len(x.Bucket) != len(y.Bucket) {
		t.Fatalf("%d classic buckets, want %d", len(x.Bucket), len(y.Bucket))
	}
	for i := range x.Bucket {
		if x.Bucket[i].GetCumulativeCount() != y.Bucket[i].GetCumulativeCount() || x.Bucket[i].GetUpperBound() != y.Bucket[i].GetUpperBound() {
			t.Errorf("classic bucket %v, want %v", x.Bucket[i], y.Bucket[i])
		}
	}
	p, q := expand(x), expand(y)
	if len(p) < 50 {
		t.Errorf("only %d native buckets", len(p))
	}
	for k, n := range q {
		if p[k] != n {
			t.Errorf("native bucket %d has %d, want %d", k, p[k], n)
		}
	}
	if len(p) != len(q) {
		t.Errorf("%d native buckets, want %d", len(p), len(q))
	}
}

// expand returns the native buckets that are not empty by index.
func expand(h *dto.Histogram) map[int]int64 {
	out := make(map[int]int64)
	at, i, n := 0, 0, int64(0)
	for _, s := range h.PositiveSpan {
		at += int(s.GetOffset())
		for range s.GetLength() {
			n += h.PositiveDelta[i]
			if n != 0 {
				out[at] = n
			}
			at++
			i++
		}
	}
	return out
}

// Without an observation it is still told apart from a classic histogram.
func TestEmptyHistogram(t *testing.T) {
	var m dto.Metric
	if err := (&histogramMetric{of: new(histogram)}).Write(&m); err != nil {
		t.Fatal(err)
	}
	if h := m.Histogram; h.GetSampleCount() != 0 || len(h.PositiveSpan) != 1 || h.PositiveSpan[0].GetLength() != 0 || len(h.Bucket) != len(classicBounds) {
		t.Errorf("an empty histogram is %v", h)
	}
}

// Whatever is observed, the two faces agree.
func TestHistogramOutOfRange(t *testing.T) {
	h := new(histogram)
	for _, d := range []time.Duration{-time.Second, 0, 1, 1 << 62} {
		h.observe(d)
	}
	var m dto.Metric
	if err := (&histogramMetric{of: h}).Write(&m); err != nil {
		t.Fatal(err)
	}
	native := int64(m.Histogram.GetZeroCount())
	for _, n := range expand(m.Histogram) {
		native += n
	}
	if native != 4 || m.Histogram.GetSampleCount() != 4 {
		t.Errorf("native buckets hold %d, count is %d; want 4", native, m.Histogram.GetSampleCount())
	}
}
