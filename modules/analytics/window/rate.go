package window

import (
	"math"
	"strings"
)

// Rates turns the samples of a counter into rates in units a second. times are
// Unix seconds in rising order, at which values were read; NaN is a gap. The
// rate at i is the increase since the last sample before it over the time that
// really passed, so jitter in the sampling does not show as change in the rate.
// A value below the one before it is a reset, after which the counter counted
// up from zero (Prometheus reads resets the same way). The first sample, and
// one more than maxHold seconds after the last, give a gap: an average over a
// long silence is not a rate at an instant. The result is written to dst, which
// may be values itself, and returned.
func Rates(dst, times, values []float64, maxHold float64) []float64 {
	lastT, lastV := math.NaN(), math.NaN()
	for i, v := range values {
		if math.IsNaN(v) {
			dst[i] = math.NaN()
			continue
		}
		dst[i] = rate(lastT, lastV, times[i], v, maxHold)
		lastT, lastV = times[i], v
	}
	return dst
}

func rate(lastT, lastV, t, v, maxHold float64) float64 {
	dt := t - lastT
	if !(dt > 0) || dt > maxHold {
		return math.NaN()
	}
	increase := v - lastV
	if increase < 0 {
		increase = v
	}
	return increase / dt
}

// LooksLikeCounter reports whether values can only be those of a counter: none
// is negative, they grow, and every fall, of which there is at most one in
// fifty steps (one is always allowed), goes at least half the way to zero. Unless
// the signal is named like a counter at least half of the steps must rise, too.
// A gauge that happens to rise all the way is taken for one as well, and its
// slope is what then gets compared, which is harmless.
func LooksLikeCounter(name string, values []float64) bool {
	var rises, falls, steps int
	last := math.NaN()
	for _, v := range values {
		if math.IsNaN(v) {
			continue
		}
		if v < 0 || math.IsInf(v, 0) {
			return false
		}
		switch {
		case v > last:
			rises++
			steps++
		case v < last:
			if v > last/2 {
				return false
			}
			falls++
			steps++
		case v == last:
			steps++
		}
		last = v
	}
	needed := steps / 2
	if namedAsCounter(name) {
		needed = 1
	}
	return steps >= 8 && rises >= needed && falls <= max(1, steps/50)
}

// namedAsCounter goes by the suffixes of Prometheus' naming conventions, labels
// aside.
func namedAsCounter(name string) bool {
	name, _, _ = strings.Cut(name, "{")
	for _, suffix := range []string{"_total", "_count", "_sum", "_bucket"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}
