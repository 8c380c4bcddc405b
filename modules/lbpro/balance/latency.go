package balance

import (
	"math"
	"sync/atomic"
	"time"
)

// latency is how long a backend's answers take, as measured: with no model of load and no
// comparison with what the request was. The policies taken over from other projects are
// defined on it; [Adaptive] goes by [estimate] instead. Guarded by Backend.mu but for
// what is published.
type latency struct {
	peak, mean float64 // seconds to first byte; 0 before the first sample
	peakAt     time.Duration
	meanAt     time.Duration
	good       int // good answers, up to meanSamples

	publishedPeak atomic.Uint64 // float64 bits, seconds; 0 before the first publish
	publishedMean atomic.Uint64
	publishedGood atomic.Uint64 // float64 bits: decayed success rate
}

const (
	// peakMemory is the time constant of Peak EWMA (Finagle's and Linkerd's decay).
	peakMemory = 10 * time.Second
	// failurePenalty is the time to first byte that a failure counts as (Linkerd): an
	// error at once must not look like a fast answer.
	failurePenalty = 5.0
	// meanSamples and meanMemory bound the memory of the mean: the newest sample weighs
	// 1/meanSamples (nginx's least_time has 1/20), more after a gap.
	meanSamples = 20
	meanMemory  = 10 * time.Second
	// meanPrior is how many answers the prior of a mean counts as.
	meanPrior = 3
	// coldLatency is what a backend without samples counts as when nothing at all is
	// known of the pool, in seconds. Finagle's and Linkerd's default.
	coldLatency = 0.030
)

// observe takes in one sample. usual is the pool's mean, 0 when unknown.
//
// A first answer is not taken at its word: one that was quick by chance would draw every
// request. What the pool usually takes is the prior.
func (l *latency) observe(s *sample, usual float64) {
	took := s.took.Seconds()
	if s.outcome != Success {
		took = max(took, failurePenalty)
	}
	if l.peak == 0 {
		l.peakAt = s.at
		if usual > 0 {
			l.peak = orElse(l.publishedPeak.Load(), usual)
		}
	}
	if k := math.Exp(-float64(max(0, s.at-l.peakAt)) / float64(peakMemory)); took > l.peak {
		l.peak = took // a peak counts at once
	} else {
		l.peak = l.peak*k + took*(1-k)
	}
	l.peakAt = max(l.peakAt, s.at)
	if s.outcome != Success {
		return // how long an error took says nothing about answers
	}
	if l.mean == 0 {
		if l.mean = usual; usual == 0 {
			l.mean = took
		}
	}
	l.good = min(l.good+1, meanSamples)
	a := max(1.0/meanSamples, 1/float64(l.good+meanPrior), -math.Expm1(-float64(max(0, s.at-l.meanAt))/float64(meanMemory)))
	l.mean += a * (took - l.mean)
	l.meanAt = max(l.meanAt, s.at)
}

// publish writes what pickers read. idle says that no request waits at the backend. A
// backend without samples is like the others: it would take every request if it counted
// as 0. p.tickMu and b.mu are held.
func (l *latency) publish(p *Pool, now time.Duration, good float64, idle bool) {
	usual, usualPeak := p.mean, p.census.usualPeak
	if usual == 0 {
		usual = coldLatency
	}
	peak, mean := max(usualPeak, usual), usual
	if l.peak > 0 {
		peak = l.peak * math.Exp(-float64(max(0, now-l.peakAt))/float64(peakMemory))
		p.census.addPeak(peak)
	}
	if l.mean > 0 {
		mean = l.mean
		if idle && mean > usual {
			// Nobody has asked it lately: what was slow may be well again.
			mean = usual + (mean-usual)*math.Exp(-float64(max(0, now-l.meanAt))/float64(meanMemory))
		}
	} else {
		l.meanAt = now
	}
	storeFloat(&l.publishedPeak, max(peak, 1e-6))
	storeFloat(&l.publishedMean, max(mean, 1e-6))
	storeFloat(&l.publishedGood, good)
}

// forget makes the backend one without samples, as when it comes back from an ejection.
func (l *latency) forget() { l.peak, l.mean, l.good = 0, 0, 0 }

func orElse(bits uint64, v float64) float64 {
	if bits == 0 {
		return v
	}
	return math.Float64frombits(bits)
}

// PeakLatency returns the Peak EWMA of the time to first byte, in seconds: a slower
// sample replaces it, a faster one is blended in with a time constant of 10 s. Failures
// count as 5 s or more. It falls by itself while there are no samples.
func (b *Backend) PeakLatency() float64 { return orElse(b.latency.publishedPeak.Load(), coldLatency) }

// MeanLatency returns the moving average of the time to first byte of good answers, in
// seconds. Without samples it is the pool's mean, 30 ms when nothing is known.
func (b *Backend) MeanLatency() float64 { return orElse(b.latency.publishedMean.Load(), coldLatency) }

// SuccessRate returns the share of good outcomes, with a memory of 5 s and one good
// answer as prior: above 0, up to 1.
func (b *Backend) SuccessRate() float64 { return orElse(b.latency.publishedGood.Load(), 1) }
