package testbed

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Distribution draws service demands: the time one worker at full speed needs for a
// request. Implementations are values and safe for concurrent use.
type Distribution interface {
	// Sample draws one demand, never negative.
	Sample(r *rand.Rand) time.Duration
	// Mean returns the expectation.
	Mean() time.Duration
	// String names the distribution and its parameters.
	String() string
}

// Exponential is the exponential distribution with the given mean; its squared
// coefficient of variation is 1, its 99th percentile 4.6 times the mean.
type Exponential time.Duration

// Sample draws one demand.
func (d Exponential) Sample(r *rand.Rand) time.Duration {
	return time.Duration(r.ExpFloat64() * float64(d))
}

// Mean returns the expectation.
func (d Exponential) Mean() time.Duration { return time.Duration(d) }

func (d Exponential) String() string { return fmt.Sprintf("exponential(%s)", time.Duration(d)) }

// Deterministic is always the same demand.
type Deterministic time.Duration

// Sample returns the constant.
func (d Deterministic) Sample(*rand.Rand) time.Duration { return time.Duration(d) }

// Mean returns the constant.
func (d Deterministic) Mean() time.Duration { return time.Duration(d) }

func (d Deterministic) String() string { return fmt.Sprintf("deterministic(%s)", time.Duration(d)) }

// Lognormal is the log-normal distribution, given by its own mean and by the standard
// deviation Sigma of its logarithm; its squared coefficient of variation is
// exp(Sigma²) - 1. Sigma between 0.5 and 1.5 covers most measured web services.
type Lognormal struct {
	Average time.Duration
	Sigma   float64
}

// Sample draws one demand.
func (d Lognormal) Sample(r *rand.Rand) time.Duration {
	mu := math.Log(float64(d.Average)) - d.Sigma*d.Sigma/2
	return time.Duration(math.Exp(mu + d.Sigma*r.NormFloat64()))
}

// Mean returns the expectation.
func (d Lognormal) Mean() time.Duration { return d.Average }

func (d Lognormal) String() string { return fmt.Sprintf("lognormal(%s, %g)", d.Average, d.Sigma) }

// newRand gives an independent, reproducible stream for each purpose of one seed, so
// that drawing more of one thing does not change another.
func newRand(seed uint64, purpose string) *rand.Rand {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(purpose) {
		h = (h ^ uint64(purpose[i])) * 1099511628211
	}
	return rand.New(rand.NewPCG(seed, h))
}
