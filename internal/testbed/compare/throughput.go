package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/internal/testbed"
)

// throughput saturates ours and stock reverse_proxy, both with defaults, and prints the
// median of the rounds' ratios. A round gives each four slices, in the order of Thue and
// Morse, so that a drift of the machine cancels out; one in which other programs took more than
// maxForeign of the machine is done again, up to three times as many rounds in all.
type throughput struct {
	rounds      int
	each        time.Duration // of a round, for each side
	connections int
	body        int
	maxForeign  float64 // share of all processors; 0 takes any
}

// sides of the comparison: without options, so each with its own defaults.
func sides() []proxy { return []proxy{ours("lbpro"), stock("reverse_proxy")} }

// load is what one proxy reached.
type load struct {
	requests     int64
	elapsed, cpu time.Duration
}

func (l load) rate() float64 { return float64(l.requests) / l.elapsed.Seconds() }

// cost is the processor time a request in microseconds.
func (l load) cost() float64 {
	return float64(l.cpu) / float64(time.Microsecond) / float64(l.requests)
}

func (t throughput) run(ctx context.Context, out io.Writer, programs map[string]string) (err error) {
	cluster, err := testbed.StartCluster(backendsFor(t.body)...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	var running [2]*process
	for i, p := range sides() {
		if running[i], err = launch(ctx, p, programs[p.program], cluster.Addrs()); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, running[i].stop()) }()
		if _, err := t.saturate(ctx, running[i], time.Second); err != nil { // uncounted
			return err
		}
	}
	var rates, costs []float64
	dropped := 0
	for len(rates) < t.rounds {
		others := watch(running[0], running[1])
		var got [2]load
		for _, i := range []int{0, 1, 1, 0, 1, 0, 0, 1} {
			l, err := t.saturate(ctx, running[i], t.each/4)
			if err != nil {
				return err
			}
			got[i].requests += l.requests
			got[i].elapsed += l.elapsed
			got[i].cpu += l.cpu
		}
		ratio, share := got[0].rate()/got[1].rate(), others.share()
		note := ""
		if t.maxForeign > 0 && share > t.maxForeign && dropped < 2*t.rounds {
			dropped++
			note = "; done again"
		} else {
			rates = append(rates, ratio)
			costs = append(costs, got[0].cost()/got[1].cost())
		}
		fmt.Fprintf(out, "lbpro %.0f/s at %.1f µs of CPU a request, reverse_proxy %.0f/s at %.1f µs: ratio %.3f; others took %.0f %% of the machine%s\n",
			got[0].rate(), got[0].cost(), got[1].rate(), got[1].cost(), ratio, 100*share, note)
	}
	fmt.Fprintf(out, "median of %d rounds of %s, %d connections, bodies of %d bytes: throughput ratio %.3f, CPU ratio %.3f\n",
		t.rounds, t.each, t.connections, t.body, middle(rates), middle(costs))
	return nil
}

func (t throughput) saturate(ctx context.Context, p *process, d time.Duration) (load, error) {
	before, _ := p.cpu()
	r, err := testbed.Saturation{Connections: t.connections, Duration: d}.Run(ctx, p.url)
	if err != nil {
		return load{}, err
	}
	if r.Failed > 0 || r.OK == 0 {
		return load{}, fmt.Errorf("%d of %d requests failed under saturation: %s", r.Failed, r.Failed+r.OK, p.output.String())
	}
	after, _ := p.cpu()
	return load{requests: r.OK, elapsed: r.Elapsed, cpu: after - before}, nil
}

// backendsFor are three that answer at once.
func backendsFor(body int) []testbed.BackendConfig {
	cfgs := make([]testbed.BackendConfig, 3)
	for i := range cfgs {
		cfgs[i] = testbed.BackendConfig{Workers: 1024, Body: body}
	}
	return cfgs
}
