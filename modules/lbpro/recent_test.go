package lbpro

import (
	"testing"
	"time"
)

func TestRecentBucketsAreNarrowAndInOrder(t *testing.T) {
	last := -1
	for d := 20 * time.Microsecond; d < time.Minute; d += d / 50 {
		i := recentIndex(d)
		if i < last || i >= recentBuckets {
			t.Fatalf("%v is in bucket %d, a shorter one was in %d", d, i, last)
		}
		last = i
		if v := recentValue(i); v < d*15/16 || v > d*17/16 {
			t.Fatalf("%v is shown as %v: more than a sixteenth off", d, v)
		}
	}
	for d, want := range map[time.Duration]int{-1: 0, 0: 0, time.Microsecond: 0, time.Hour: recentBuckets - 1} {
		if got := recentIndex(d); got != want {
			t.Errorf("%v is in bucket %d, want %d", d, got, want)
		}
	}
}

func TestRecentForgetsAfterAMinute(t *testing.T) {
	var r recent
	var q [2]time.Duration
	if r.quantiles([]float64{0.5, 0.99}, q[:]) {
		t.Error("an empty histogram has quantiles")
	}
	r.advance(time.Hour)
	for range 98 {
		r.record(10 * time.Millisecond)
	}
	r.record(time.Second)
	r.record(time.Second)
	if !r.quantiles([]float64{0.5, 0.99}, q[:]) {
		t.Fatal("no quantiles of a hundred values")
	}
	if q[0].Round(time.Millisecond) != 10*time.Millisecond || q[1] < 950*time.Millisecond {
		t.Errorf("median %v and p99 %v of 98 × 10 ms and 2 × 1 s", q[0], q[1])
	}
	r.advance(time.Hour + 50*time.Second)
	r.record(20 * time.Millisecond)
	r.quantiles([]float64{0.5, 0.99}, q[:])
	if q[1] < 950*time.Millisecond {
		t.Error("values of 50 seconds ago are gone already")
	}
	r.advance(time.Hour + 75*time.Second)
	r.quantiles([]float64{0.5, 0.99}, q[:])
	if q[0].Round(time.Millisecond) != 20*time.Millisecond || q[1] != q[0] {
		t.Errorf("after 75 s there is more than the one value of 20 ms: %v", q)
	}
	r.advance(time.Hour + 24*time.Hour)
	if r.quantiles([]float64{0.5, 0.99}, q[:]) {
		t.Error("values of yesterday are still there")
	}
}

func TestRatesAreOfTheLastMinute(t *testing.T) {
	var h history
	c := counts{}
	at := time.Hour
	h.add(at, c)
	// Ten seconds of 100 a second, none of them good, then two minutes of 10 a second,
	// each a whole answer of 20 ms.
	for range 10 {
		at += time.Second
		c.requests, c.judged, c.failed = c.requests+100, c.judged+100, c.failed+100
		h.add(at, c)
	}
	change, window := h.since(at, c)
	if r := change.over(window); r.Window != 10*time.Second || r.PerSecond != 100 || r.SuccessRate != 0 || r.Average != 0 {
		t.Errorf("after ten seconds: %+v", r)
	}
	for range 120 {
		at += time.Second
		c.requests, c.judged, c.timed, c.took = c.requests+10, c.judged+10, c.timed+10, c.took+200*time.Millisecond
		h.add(at, c)
		h.add(at+100*time.Millisecond, c) // another app in the middle of a reload
	}
	change, window = h.since(at, c)
	r := change.over(window)
	if r.Window != time.Minute || r.PerSecond != 10 || r.Requests != 600 || r.SuccessRate != 1 || r.ErrorRate != 0 || r.Average != 20*time.Millisecond {
		t.Errorf("after two minutes more: %+v", r)
	}
	if r := (counts{}).over(0); r.SuccessRate != 1 || r.PerSecond != 0 {
		t.Errorf("of nothing: %+v", r)
	}
}
