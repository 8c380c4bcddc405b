package testbed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Defaults of a load.
const (
	DefaultTimeout     = 10 * time.Second
	defaultMaxInFlight = 4096
)

// Load is an open-loop load: its requests are sent at the moments of a Poisson
// process, whether or not earlier ones have been answered.
type Load struct {
	// Rate is the mean number of requests a second.
	Rate float64
	// Duration is the period in which requests are sent; the last answers come later.
	Duration time.Duration
	// Bursts multiply the rate for a while.
	Bursts []Burst
	// Service draws the demand sent along; none is sent when nil, and the backends
	// draw their own.
	Service Distribution
	// Mix is the endpoints; all requests are GET / without one.
	Mix []Endpoint
	// Target gives method and path of request i when set, over those of Mix.
	Target func(i int) (method, path string)
	// Seed of all draws.
	Seed uint64

	// Timeout is the client's patience, from the intended moment; DefaultTimeout when
	// zero. A request without a whole answer by then has failed.
	Timeout time.Duration
	// MaxInFlight bounds requests under way; 4096 when zero. Past it, requests wait
	// for one to end. They are sent late but not omitted, their latency counts from
	// the intended moment, and Result.Capped tells how many.
	MaxInFlight int
	// Bucket is the width of the periods of Result.Timeline; none is kept when zero.
	Bucket time.Duration
	// Epoch is the moment 0 of the plan; the call of Run when zero.
	Epoch time.Time
}

func (l Load) withDefaults() Load {
	if l.Timeout == 0 {
		l.Timeout = DefaultTimeout
	}
	if l.MaxInFlight == 0 {
		l.MaxInFlight = defaultMaxInFlight
	}
	return l
}

func (l Load) validate() error {
	switch {
	case !(l.Rate > 0):
		return fmt.Errorf("load: Rate is %g requests a second, must be positive", l.Rate)
	case l.Duration <= 0:
		return fmt.Errorf("load: Duration is %s, must be positive", l.Duration)
	case l.Rate*l.Duration.Seconds() > maxPlan:
		return fmt.Errorf("load: more than %d requests: lower Rate or Duration", maxPlan)
	case l.Timeout < 0 || l.MaxInFlight < 0 || l.Bucket < 0:
		return errors.New("load: Timeout, MaxInFlight and Bucket must not be negative")
	case l.Bucket > 0 && l.Duration/l.Bucket > maxSeries:
		return fmt.Errorf("load: Bucket %s gives more than %d periods: make it longer", l.Bucket, maxSeries)
	}
	for _, b := range l.Bursts {
		if !(b.Factor > 0) || b.At < 0 || b.For <= 0 {
			return fmt.Errorf("load: burst %+v: Factor and For must be positive, At not negative", b)
		}
	}
	var total float64
	for _, e := range l.Mix {
		if e.Share < 0 {
			return fmt.Errorf("load: endpoint %q: Share must not be negative", e.Path)
		}
		total += e.Share
	}
	if len(l.Mix) > 0 && total == 0 {
		return errors.New("load: no endpoint of Mix has a Share")
	}
	return nil
}

// Run sends the load to URLs of the form http://host:port in turn, waits for the last
// answer and returns what the clients saw. An error is returned for a load or a URL
// that is no good, and when ctx ends, then with the result so far; requests that fail
// are part of the result.
func (l Load) Run(ctx context.Context, urls ...string) (*Result, error) {
	plan, err := l.Plan()
	if err != nil {
		return nil, err
	}
	l = l.withDefaults()
	clients := make([]*client, len(urls))
	for i, u := range urls {
		if clients[i], err = newClient(u); err != nil {
			return nil, err
		}
		defer clients[i].close()
	}
	if len(clients) == 0 {
		return nil, errors.New("load: no URL to send to")
	}
	if l.Epoch.IsZero() {
		l.Epoch = time.Now()
	}
	run := &run{load: l, result: newResult(l, plan), slots: make(chan struct{}, l.MaxInFlight)}
	err = run.send(ctx, plan, clients)
	run.inflight.Wait()
	run.result.Elapsed = time.Since(l.Epoch)
	return run.result, err
}

// run is one execution of a load.
type run struct {
	load     Load
	slots    chan struct{}
	inflight sync.WaitGroup

	mu     sync.Mutex
	result *Result
}

// send sleeps from one intended moment to the next and starts each request.
func (r *run) send(ctx context.Context, plan []Request, clients []*client) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range plan {
		intended := r.load.Epoch.Add(plan[i].At)
		if wait := time.Until(intended); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return fmt.Errorf("load: stopped after %d of %d requests: %w", i, len(plan), ctx.Err())
			}
		}
		capped := false
		select {
		case r.slots <- struct{}{}:
		default:
			capped = true
			select {
			case r.slots <- struct{}{}:
			case <-ctx.Done():
				return fmt.Errorf("load: stopped after %d of %d requests: %w", i, len(plan), ctx.Err())
			}
		}
		lag := time.Since(intended)
		r.inflight.Go(func() {
			r.do(ctx, clients[i%len(clients)], plan[i], intended, lag, capped)
			<-r.slots
		})
	}
	return nil
}

func (r *run) do(ctx context.Context, c *client, req Request, intended time.Time, lag time.Duration, capped bool) {
	a := c.do(ctx, req, intended.Add(r.load.Timeout))
	latency := time.Since(intended)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.record(req, a, latency, lag, capped)
}
