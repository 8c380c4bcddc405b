package testbed

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Trial puts a real proxy through a scenario.
type Trial struct {
	Scenario Scenario
	// Start starts balancer i of the scenario over the backends, given as host:port,
	// and returns its URL, http://host:port.
	Start func(ctx context.Context, i int, backends []string) (url string, err error)
	// Warmup is for how long the load runs beforehand, uncounted and before faults, so
	// that connections are open; none when zero.
	Warmup time.Duration
	// OnEpoch is called as the counted part begins.
	OnEpoch func()
}

// Outcome is what became of a trial.
type Outcome struct {
	*Result
	Backends  []Stats
	Reactions []Reaction
}

// settle is the time between the warm-up and the epoch, in which the client closes its
// connections and proxies come to rest.
const settle = 200 * time.Millisecond

// Run starts the backends, then the balancers, and runs the load. Stopping the
// balancers is the caller's.
func (t Trial) Run(ctx context.Context) (o *Outcome, err error) {
	cluster, err := StartCluster(t.Scenario.Backends...)
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", t.Scenario.Name, err)
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	cluster.Begin(time.Now().Add(time.Hour)) // no fault yet
	var urls []string
	for i := range max(1, t.Scenario.Balancers) {
		url, err := t.Start(ctx, i, cluster.Addrs())
		if err != nil {
			return nil, fmt.Errorf("scenario %s: balancer %d: %w", t.Scenario.Name, i, err)
		}
		urls = append(urls, url)
	}
	load := t.Scenario.Load
	if t.Warmup > 0 {
		warm := load
		warm.Seed, warm.Duration, warm.Bursts, warm.Bucket = ^load.Seed, t.Warmup, nil, 0
		r, err := warm.Run(ctx, urls...)
		if err == nil && r.OK == 0 {
			err = fmt.Errorf("the balancer answered nothing: %s", r)
		}
		if err != nil {
			return nil, fmt.Errorf("scenario %s: warm-up: %w", t.Scenario.Name, err)
		}
	}
	load.Epoch = time.Now().Add(settle)
	cluster.Begin(load.Epoch)
	if t.OnEpoch != nil {
		t.OnEpoch()
	}
	result, err := load.Run(ctx, urls...)
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", t.Scenario.Name, err)
	}
	o = &Outcome{Result: result}
	for _, b := range cluster.Backends() {
		o.Backends = append(o.Backends, b.Stats())
	}
	o.Reactions = t.Scenario.Reactions(o.Backends)
	return o, nil
}
