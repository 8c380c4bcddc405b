package correlate

import (
	"math"
	"slices"
)

// discreteShare is the share of one value above which a series is discrete: a
// count of rare events, a switch.
const discreteShare = .2

// minEvents is how many samples must carry what variance there is. Two series of
// a few spikes each coincide at some lag too easily.
const minEvents = 6

// outlier is how many robust standard deviations from the median a value counts.
const outlier = 6

// scaling is x ↦ (x − mean)/sd.
type scaling struct{ mean, sd float64 }

func (s scaling) apply(v float64) float64 { return (v - s.mean) / s.sd }

// bounds is x ↦ x pulled into [lo, hi].
type bounds struct{ lo, hi float64 }

var unbounded = bounds{math.Inf(-1), math.Inf(1)}

func (b bounds) apply(v float64) float64 { return min(max(v, b.lo), b.hi) }

// tooLarge is where squares begin to overflow. No signal is there but a mistaken
// one.
const tooLarge = 1e150

// usable returns a copy of values in which everything infinite or too large to
// reckon with is a gap.
func usable(values []float64) []float64 {
	x := slices.Clone(values)
	for i, v := range x {
		if math.Abs(v) > tooLarge {
			x[i] = math.NaN()
		}
	}
	return x
}

// scaleToUnit brings x to mean 0 and variance 1 in place, leaving NaN alone, and
// reports whether it varies by more than rounding.
func scaleToUnit(x []float64) (scaling, bool) {
	var n, sum, peak float64
	for _, v := range x {
		if v == v {
			n, sum, peak = n+1, sum+v, max(peak, math.Abs(v))
		}
	}
	mean, sq := sum/n, 0.0
	for _, v := range x {
		if d := v - mean; d == d {
			sq += d * d
		}
	}
	s := scaling{mean, math.Sqrt(sq / n)}
	if !(s.sd > 1e-12*peak) || s.sd < 1/tooLarge {
		return s, false
	}
	for i := range x {
		x[i] = s.apply(x[i])
	}
	return s, true
}

// winsorise pulls values further than outlier robust standard deviations from the
// median back to there, in place. One wild sample would otherwise tilt the trend,
// pass for a season and hide the autocorrelation. A series that mostly stands
// still has no such scale: see winsoriseEvents.
func winsorise(x []float64) bounds {
	v := seen(x)
	slices.Sort(v)
	median := v[len(v)/2]
	for i := range v {
		v[i] = math.Abs(v[i] - median)
	}
	slices.Sort(v)
	reach := outlier * 1.4826 * v[len(v)/2]
	if reach == 0 {
		return unbounded
	}
	b := bounds{median - reach, median + reach}
	for i, s := range x {
		if s == s {
			x[i] = b.apply(s)
		}
	}
	return b
}

// burst is how many times its usual size a change counts at most, in a series that mostly
// stands still.
const burst = 3

// winsoriseEvents pulls values that are further from the most frequent one than burst times
// their median distance back to there, in place. Of a series that is zero but for some bursts,
// say a retransmit ratio, the few largest would otherwise be all that counts.
func winsoriseEvents(x []float64) bounds {
	v := seen(x)
	slices.Sort(v)
	at, _ := mode(v)
	changes := v[:0]
	for _, s := range v {
		if s != at {
			changes = append(changes, math.Abs(s-at))
		}
	}
	if len(changes) == 0 {
		return unbounded
	}
	slices.Sort(changes)
	reach := burst * changes[len(changes)/2]
	b := bounds{at - reach, at + reach}
	for i, s := range x {
		if s == s {
			x[i] = b.apply(s)
		}
	}
	return b
}

// seen returns the values of x that are not NaN.
func seen(x []float64) []float64 {
	v := make([]float64, 0, len(x))
	for _, s := range x {
		if s == s {
			v = append(v, s)
		}
	}
	return v
}

// modalShare is the share of the most frequent value.
func modalShare(x []float64) float64 {
	v := seen(x)
	slices.Sort(v)
	_, n := mode(v)
	return float64(n) / float64(len(v))
}

// mode returns the most frequent value of sorted v, and how often it is there.
func mode(v []float64) (at float64, n int) {
	run := 0
	for i := range v {
		if i == 0 || v[i] != v[i-1] {
			run = 0
		}
		if run++; run > n {
			at, n = v[i], run
		}
	}
	return at, n
}

// participation is how many samples carry the variance of u: (Σu²)²/Σu⁴.
func participation(u []float64) float64 {
	var s2, s4 float64
	for _, v := range u {
		if v == v {
			s2 += v * v
			s4 += v * v * v * v
		}
	}
	return s2 * s2 / s4
}

// levelScale divides u in place by its mean size among some 30 to 65 neighbours
// and returns that size at the end. Two series that are both noisier by day than
// by night would otherwise seem to correlate more than 1/n allows.
func levelScale(u []float64) float64 {
	sum, count := make([]float64, len(u)+1), make([]float64, len(u)+1)
	for t, v := range u {
		sum[t+1], count[t+1] = sum[t], count[t]
		if v == v {
			sum[t+1] += min(math.Abs(v), 4)
			count[t+1]++
		}
	}
	total, half := sum[len(u)]/count[len(u)], min(max(len(u)/16, 16), 32)
	local := total
	for t := range u {
		lo, hi := max(t-half, 0), min(t+half+1, len(u))
		// Some of the whole, lest a quiet stretch is blown up.
		local = (sum[hi] - sum[lo] + 8*total) / (count[hi] - count[lo] + 8)
		u[t] /= local
	}
	return local
}
