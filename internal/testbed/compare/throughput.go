package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/internal/testbed"
)

// throughput saturates ours and stock reverse_proxy, both with defaults, in turn, and
// prints the median of the rounds' ratios. In each round the order changes.
type throughput struct {
	rounds      int
	each        time.Duration
	connections int
	body        int
}

// sides of the comparison: without options, so each with its own defaults.
func sides() []proxy { return []proxy{ours("lbpro"), stock("reverse_proxy")} }

// load is what one proxy reached in one round.
type load struct{ rate, micros float64 }

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
	for round := range t.rounds {
		var got [2]load
		for k := range 2 {
			i := (k + round) % 2
			if got[i], err = t.saturate(ctx, running[i], t.each); err != nil {
				return err
			}
		}
		rates = append(rates, got[0].rate/got[1].rate)
		costs = append(costs, got[0].micros/got[1].micros)
		fmt.Fprintf(out, "round %d: lbpro %.0f/s, %.1f µs of CPU a request; reverse_proxy %.0f/s, %.1f µs; ratio %.3f\n",
			round+1, got[0].rate, got[0].micros, got[1].rate, got[1].micros, rates[round])
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
	return load{rate: r.Throughput(), micros: float64(after-before) / float64(time.Microsecond) / float64(r.OK)}, nil
}

// backendsFor are three that answer at once.
func backendsFor(body int) []testbed.BackendConfig {
	cfgs := make([]testbed.BackendConfig, 3)
	for i := range cfgs {
		cfgs[i] = testbed.BackendConfig{Workers: 1024, Body: body}
	}
	return cfgs
}
