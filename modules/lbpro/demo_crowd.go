package lbpro

import (
	"context"
	"sync"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/internal/testbed"
)

// crowd is the clients of one side: an open-loop load, sent second by second so that what
// they saw is known while it goes on. Arrivals of a Poisson process in one second do not
// depend on those of another, so the seconds together are one Poisson process.
type crowd struct {
	url string

	mu      sync.Mutex
	sent    int64
	good    int64
	seconds [crowdSeconds]second
	p99s    *testbed.Histogram // of the seconds' p99
}

// second is what the clients of one second saw.
type second struct {
	number     int64 // since the beginning; -1 is none
	sent, good int64
	p99        time.Duration
}

const (
	crowdSeconds = 64
	// crowdPatience is after how long clients give up; that counts as a failure.
	crowdPatience = 2 * time.Second
)

func newCrowd(url string) *crowd {
	c := &crowd{url: url, p99s: testbed.NewHistogram()}
	for i := range c.seconds {
		c.seconds[i].number = -1
	}
	return c
}

// run sends requests until ctx ends, and returns when the last has ended.
func (c *crowd) run(ctx context.Context, rate float64, began time.Time) {
	var running sync.WaitGroup
	defer running.Wait()
	for n := int64(0); ; n++ {
		epoch := began.Add(time.Duration(n) * time.Second)
		if !sleep(ctx, time.Until(epoch)) {
			return
		}
		load := testbed.Load{
			Rate: rate, Duration: time.Second, Service: testbed.Exponential(demoWork),
			Timeout: crowdPatience, Epoch: epoch, Seed: uint64(n),
		}
		running.Go(func() {
			// An error means that the demonstration is over.
			if r, _ := load.Run(ctx, c.url); r != nil {
				c.add(n, r)
			}
		})
	}
}

// add takes in a second that is over. Requests cut off by the end do not count.
func (c *crowd) add(n int64, r *testbed.Result) {
	s := second{number: n, sent: r.Sent - r.Failures[testbed.FailureStopped], good: r.OK}
	if s.sent == 0 {
		return
	}
	s.p99 = min(r.Quantile(0.99), crowdPatience)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent += s.sent
	c.good += s.good
	c.seconds[n%crowdSeconds] = s
	if r.Failures[testbed.FailureStopped] == 0 {
		c.p99s.Record(s.p99)
	}
}

// seen is what the clients saw so far.
type seen struct {
	sent, good             int64
	recentSent, recentGood int64 // of the last ten seconds that are over
	p99                    []time.Duration
	typical, worst         time.Duration // p99 of a second
}

// seen returns what was seen, with the p99 of the last seconds, oldest first; one that is
// not over yet is missing.
func (c *crowd) seen() seen {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := seen{sent: c.sent, good: c.good, typical: c.p99s.Quantile(0.5), worst: c.p99s.Max()}
	newest := int64(-1)
	for i := range c.seconds {
		newest = max(newest, c.seconds[i].number)
	}
	for n := max(0, newest-crowdSeconds+1); n <= newest; n++ {
		x := &c.seconds[n%crowdSeconds]
		if x.number != n {
			continue
		}
		s.p99 = append(s.p99, x.p99)
		if n > newest-10 {
			s.recentSent += x.sent
			s.recentGood += x.good
		}
	}
	return s
}

func portion(part, whole int64) float64 {
	if whole == 0 {
		return 1
	}
	return float64(part) / float64(whole)
}
