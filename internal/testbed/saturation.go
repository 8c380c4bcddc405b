package testbed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Saturation is a closed-loop load: each connection sends its next request as soon as
// it has an answer, so the system under test is never idle. It measures throughput;
// its latencies mean little, because a slow system slows its own load.
type Saturation struct {
	// Connections is the number of clients, each on one kept-alive connection; 16
	// when zero.
	Connections int
	Duration    time.Duration
	// Path is / when empty.
	Path string
}

// SaturationResult is what saturating clients saw.
type SaturationResult struct {
	OK      int64 // answered with a status of 200 to 399
	Failed  int64
	Elapsed time.Duration
	Latency *Histogram // of the requests that were OK, from sending to the last byte
}

// Throughput returns requests that were OK a second.
func (r *SaturationResult) Throughput() float64 { return float64(r.OK) / r.Elapsed.Seconds() }

// Run saturates a URL of the form http://host:port.
func (s Saturation) Run(ctx context.Context, url string) (*SaturationResult, error) {
	if s.Connections == 0 {
		s.Connections = 16
	}
	if s.Connections < 0 || s.Connections > defaultMaxInFlight || s.Duration <= 0 {
		return nil, fmt.Errorf("saturation: %d connections for %s: must be 1 to %d for a positive time", s.Connections, s.Duration, defaultMaxInFlight)
	}
	if s.Path == "" {
		s.Path = "/"
	}
	c, err := newClient(url)
	if err != nil {
		return nil, errors.Join(errors.New("saturation"), err)
	}
	defer c.close()
	total := &SaturationResult{Latency: NewHistogram()}
	began := time.Now()
	var mu sync.Mutex
	var clients sync.WaitGroup
	for range s.Connections {
		clients.Go(func() {
			own := s.client(ctx, c, began.Add(s.Duration))
			mu.Lock()
			defer mu.Unlock()
			total.OK += own.OK
			total.Failed += own.Failed
			total.Latency.h.Merge(own.Latency.h)
		})
	}
	clients.Wait()
	total.Elapsed = time.Since(began)
	return total, ctx.Err()
}

// client is one closed loop. Connections come from a common pool; with as many clients
// as connections each finds one waiting.
func (s Saturation) client(ctx context.Context, c *client, end time.Time) SaturationResult {
	own := SaturationResult{Latency: NewHistogram()}
	req := Request{Method: "GET", Path: s.Path}
	for now := time.Now(); now.Before(end) && ctx.Err() == nil; {
		a := c.do(ctx, req, now.Add(DefaultTimeout))
		took := time.Since(now)
		now = now.Add(took)
		if a.code >= 200 && a.code < 400 {
			own.OK++
			own.Latency.Record(took)
			continue
		}
		own.Failed++
		if a.failure != "" { // a refusing server must not turn this into a spinning loop
			time.Sleep(10 * time.Millisecond)
			now = time.Now()
		}
	}
	return own
}
