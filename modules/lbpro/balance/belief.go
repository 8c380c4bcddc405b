package balance

import (
	"math"
	"time"
)

// A slow backend is asked seldom, so what is believed of it rests on few samples. How
// firmly, and when it is given up, is Wald's sequential probability ratio test of "as
// fast as the others" against "as slow as believed", both with exponential times
// (Wald, Sequential Tests of Statistical Hypotheses, 1945).

const (
	// doubtLeast and doubtMost bound how long a slow speed is believed without a new
	// sample.
	doubtLeast, doubtMost = 500 * time.Millisecond, 12 * time.Second
	// doubtFactor bounds it further, by that much for each time that the backend is slower
	// than the others: asking one that is little slower costs little.
	doubtFactor = 2 * time.Second
	// cleared is the logarithm of the odds at which the backend counts as fast again:
	// a slow one gets there by luck one time in four hundred.
	cleared = 6
)

// hope is the evidence that a slow backend has become fast, since it was last confirmed
// to be slow.
type hope struct {
	odds  float64 // logarithm of the likelihood ratio; 0 while nothing speaks for it
	firm  float64 // the slow speed it is tested against
	n     float64 // samples in odds
	total float64 // and their sum
}

// believe takes in a sample of a backend that may be slow. Each one after a pause that
// confirms it makes the next come later, so that a backend that stays slow is asked ever
// less often; one that does not is soon followed by another. It reports true when the
// evidence suffices: then the speed is that of these samples alone.
func (e *estimate) believe(x float64, at time.Duration) (fast bool) {
	if e.speed < slowerNoise {
		e.doubt, e.hope = speedMemory, hope{}
		return false
	}
	h, pause := &e.hope, at-e.last > e.patience()/4
	if h.n == 0 {
		h.firm = e.speed
	}
	h.odds += math.Log(h.firm) - x*(1-1/h.firm)
	h.n++
	h.total += x
	switch {
	case h.odds <= 0:
		e.hope = hope{}
		if pause {
			most := time.Duration(e.speed * float64(doubtFactor))
			e.doubt = min(e.doubt*3/2, most, doubtMost)
		}
	case h.odds >= cleared:
		// One sample at the pool's average is the prior.
		e.speed = (1 + h.total) / (1 + h.n)
		e.spread, e.weight = e.speed, 1/(1+h.n)
		e.last, e.doubt, e.hope = at, speedMemory, hope{}
		return true
	}
	return false
}

// patience is how long a slow speed is believed without a new sample.
func (e *estimate) patience() time.Duration {
	if e.hope.n > 0 {
		return doubtLeast
	}
	return e.doubt
}
