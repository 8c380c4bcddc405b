package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/internal/testbed"
)

// warmup is the uncounted load before each trial.
const warmup = time.Second

// measures is the JSON of one proxy in one scenario, the median of its rounds in each
// figure. Times are in milliseconds unless the key says otherwise.
type measures struct {
	Scenario string `json:"scenario"`
	Proxy    string `json:"proxy"`
	ours     bool
	// Skipped says why there are no figures.
	Skipped string `json:"skipped,omitempty"`
	Rounds  int    `json:"rounds"`

	Requests int64   `json:"requests"`
	Success  float64 `json:"success"`
	// All is over all requests, those that failed counting as the client's patience;
	// Answered is over those that were OK.
	All      quantiles        `json:"all_ms"`
	Answered quantiles        `json:"answered_ms"`
	Bound    quantiles        `json:"bound_ms"`
	Patience float64          `json:"patience_ms"`
	Failures map[string]int64 `json:"failures,omitempty"` // of all rounds
	CPU      *float64         `json:"proxy_cpu_seconds,omitempty"`
	// Attempts is requests received by backends for each request sent.
	Attempts float64   `json:"attempts_per_request"`
	Share    []float64 `json:"share"`
	// Of the three below null is not measurable and -1 is never.
	Stop     *float64 `json:"stop_ms"`
	Return   *float64 `json:"return_ms"`
	Recovery *float64 `json:"recovery_ms"`
	Lag      float64  `json:"load_lag_p999_ms"`
	Capped   int64    `json:"load_capped"`
	// Busy marks figures, of any round, from a machine that had too much else to do.
	Busy bool `json:"machine_busy"`
}

// quantiles of latency in milliseconds.
type quantiles struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

func quantilesOf(h *testbed.Histogram) quantiles {
	return quantiles{
		P50: ms(h.Quantile(.5)), P90: ms(h.Quantile(.9)), P99: ms(h.Quantile(.99)),
		P999: ms(h.Quantile(.999)), Max: ms(h.Max()),
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// failed reports whether a quantile falls on requests that failed.
func (m measures) failed(quantile float64) bool { return quantile > .999*m.Patience }

// try puts one proxy through one scenario, once.
func try(ctx context.Context, p proxy, binary string, s testbed.Scenario) (m measures, err error) {
	var running []*process
	defer func() {
		for _, r := range running {
			err = errors.Join(err, r.stop())
		}
	}()
	var before time.Duration
	counted := true
	total := func() (sum time.Duration) {
		for _, r := range running {
			used, ok := r.cpu()
			counted = counted && ok
			sum += used
		}
		return sum
	}
	o, err := testbed.Trial{
		Scenario: s, Warmup: min(warmup, s.Load.Duration),
		Start: func(ctx context.Context, _ int, backends []string) (string, error) {
			r, err := launch(ctx, p, binary, backends)
			if err != nil {
				return "", err
			}
			running = append(running, r)
			return r.url, nil
		},
		OnEpoch: func() { before = total() },
	}.Run(ctx)
	if err != nil {
		return measures{}, err
	}
	low, err := testbed.Clairvoyant(s)
	if err != nil {
		return measures{}, err
	}
	m = evaluate(s, o, low)
	m.Proxy, m.ours = p.name, p.ours
	if used := (total() - before).Seconds(); counted {
		m.CPU = &used
	}
	return m, nil
}

// evaluate turns what clients and backends saw into figures.
func evaluate(s testbed.Scenario, o *testbed.Outcome, low *testbed.Result) measures {
	m := measures{
		Scenario: s.Name, Rounds: 1, Requests: o.Sent, Success: o.Success(),
		All: quantilesOf(o.All), Answered: quantilesOf(o.Latency), Bound: quantilesOf(low.All),
		Patience: ms(o.Timeout), Failures: map[string]int64{},
		Lag: ms(o.Lag.Quantile(.999)), Capped: o.Capped,
	}
	for code, n := range o.Codes {
		if code < 200 || code >= 400 {
			m.Failures[strconv.Itoa(code)] = n
		}
	}
	for why, n := range o.Failures {
		m.Failures[why] = n
	}
	var received int64
	for _, b := range o.Backends {
		received += b.Received
	}
	m.Attempts = float64(received) / float64(max(1, o.Sent))
	for _, b := range o.Backends {
		m.Share = append(m.Share, float64(b.Received)/float64(max(1, received)))
	}
	var stops, returns []time.Duration
	for _, r := range o.Reactions {
		stops, returns = append(stops, r.Stop), append(returns, r.Return)
	}
	m.Stop, m.Return = typical(stops), typical(returns)
	if d, ok := s.Recovery(o.Result); ok {
		m.Recovery = typical([]time.Duration{d})
	}
	return m
}

// failures lists failures by how many, for a person.
func (m measures) failures() string {
	keys := make([]string, 0, len(m.Failures))
	for k := range m.Failures {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return int(m.Failures[b] - m.Failures[a]) })
	var s string
	for _, k := range keys {
		s += fmt.Sprintf(" %s:%d", k, m.Failures[k])
	}
	return s
}
