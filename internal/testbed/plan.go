package testbed

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// maxPlan bounds the requests of one run, bursts aside.
const maxPlan = 5_000_000

// Endpoint is a kind of request in a mix.
type Endpoint struct {
	// Method is GET when empty.
	Method string
	// Path is / when empty.
	Path string
	// Share is the endpoint's part of the requests, relative to the others'.
	Share float64
	// Service draws the demand; that of the load when nil.
	Service Distribution
	// Hold is how long a request waits at the backend without taking a worker.
	Hold time.Duration
}

// Burst multiplies the arrival rate for a while.
type Burst struct {
	At, For time.Duration
	Factor  float64
}

// Request is one request of a plan.
type Request struct {
	At       time.Duration // intended moment, since the epoch
	Demand   time.Duration // work at one worker of full speed
	Hold     time.Duration
	Method   string
	Path     string
	Endpoint int // index in the mix; 0 without one
}

// Plan draws the requests of a load: arrivals of a Poisson process whose rate is
// piecewise constant (by time change: unit exponential gaps laid out along the
// integral of the rate), demands and endpoints independent of it. The same load gives
// the same plan.
func (l Load) Plan() ([]Request, error) {
	if err := l.validate(); err != nil {
		return nil, err
	}
	arrivals := newRand(l.Seed, "arrivals")
	demands := newRand(l.Seed, "demands")
	mix := newRand(l.Seed, "mix")
	var plan []Request
	for at := l.next(0, arrivals.ExpFloat64()); at < l.Duration; at = l.next(at, arrivals.ExpFloat64()) {
		if len(plan) == 2*maxPlan {
			return nil, fmt.Errorf("load: more than %d requests: lower Rate, Duration or Bursts", 2*maxPlan)
		}
		plan = append(plan, l.request(len(plan), at, demands, mix))
	}
	return plan, nil
}

func (l Load) request(i int, at time.Duration, demands, mix *rand.Rand) Request {
	r := Request{At: at}
	service := l.Service
	if len(l.Mix) > 0 {
		r.Endpoint = l.choose(mix.Float64())
		e := l.Mix[r.Endpoint]
		r.Method, r.Path, r.Hold = e.Method, e.Path, e.Hold
		if e.Service != nil {
			service = e.Service
		}
	}
	if service != nil {
		r.Demand = min(service.Sample(demands), maxDemand)
	}
	if l.Target != nil {
		r.Method, r.Path = l.Target(i)
	}
	if r.Method == "" {
		r.Method = "GET"
	}
	if r.Path == "" {
		r.Path = "/"
	}
	return r
}

// choose returns the endpoint at quantile u of the mix.
func (l Load) choose(u float64) int {
	var total float64
	for _, e := range l.Mix {
		total += e.Share
	}
	u *= total
	for i, e := range l.Mix {
		if u < e.Share {
			return i
		}
		u -= e.Share
	}
	return len(l.Mix) - 1
}

// next returns the moment at which the integral of the rate since from reaches x.
func (l Load) next(from time.Duration, x float64) time.Duration {
	for {
		rate, until := l.rateAt(from)
		gap := x / rate * float64(time.Second)
		if until == forever || gap < float64(until-from) {
			return from + time.Duration(math.Min(gap, float64(maxDemand)*1000))
		}
		x -= rate * (until - from).Seconds()
		from = until
	}
}

// rateAt returns the rate at t and when it next changes.
func (l Load) rateAt(t time.Duration) (rate float64, until time.Duration) {
	rate, until = l.Rate, forever
	for _, b := range l.Bursts {
		end := b.At + b.For
		switch {
		case t < b.At:
			until = min(until, b.At)
		case t < end:
			rate *= b.Factor
			until = min(until, end)
		}
	}
	return rate, until
}
