package main

import (
	"math"
	"slices"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/internal/testbed"
)

// typical returns the median of the reactions that were measured, in milliseconds: nil
// when there is none, -1 when it is never.
func typical(reactions []time.Duration) *float64 {
	var values []float64
	for _, d := range reactions {
		switch d {
		case testbed.Unmeasured:
		case testbed.Never:
			values = append(values, math.Inf(1))
		default:
			values = append(values, ms(d))
		}
	}
	if len(values) == 0 {
		return nil
	}
	return orNever(middle(values))
}

func orNever(v float64) *float64 {
	if math.IsInf(v, 1) {
		v = -1
	}
	return &v
}

// median merges rounds of one proxy in one scenario: the median in each figure, the
// sum of failures and of requests held back.
func median(rounds []measures) measures {
	m := rounds[0]
	if len(rounds) == 1 {
		return m
	}
	of := func(get func(*measures) float64) float64 {
		values := make([]float64, len(rounds))
		for i := range rounds {
			values[i] = get(&rounds[i])
		}
		return middle(values)
	}
	reaction := func(get func(*measures) *float64) *float64 {
		if get(&m) == nil {
			return nil
		}
		return orNever(of(func(r *measures) float64 {
			if p := get(r); p != nil && *p >= 0 {
				return *p
			}
			return math.Inf(1)
		}))
	}
	out := measures{
		Scenario: m.Scenario, Proxy: m.Proxy, ours: m.ours, Rounds: len(rounds), Patience: m.Patience,
		Failures: map[string]int64{}, Share: slices.Clone(m.Share),
		Requests: int64(of(func(r *measures) float64 { return float64(r.Requests) })),
		Success:  of(func(r *measures) float64 { return r.Success }),
		Attempts: of(func(r *measures) float64 { return r.Attempts }),
		Lag:      of(func(r *measures) float64 { return r.Lag }),
		Stop:     reaction(func(r *measures) *float64 { return r.Stop }),
		Return:   reaction(func(r *measures) *float64 { return r.Return }),
		Recovery: reaction(func(r *measures) *float64 { return r.Recovery }),
		CPU:      reaction(func(r *measures) *float64 { return r.CPU }),
	}
	for _, part := range []func(*measures) *quantiles{
		func(r *measures) *quantiles { return &r.All },
		func(r *measures) *quantiles { return &r.Answered },
		func(r *measures) *quantiles { return &r.Bound },
	} {
		*part(&out) = quantiles{
			P50:  of(func(r *measures) float64 { return part(r).P50 }),
			P90:  of(func(r *measures) float64 { return part(r).P90 }),
			P99:  of(func(r *measures) float64 { return part(r).P99 }),
			P999: of(func(r *measures) float64 { return part(r).P999 }),
			Max:  of(func(r *measures) float64 { return part(r).Max }),
		}
	}
	for i := range out.Share {
		out.Share[i] = of(func(r *measures) float64 { return r.Share[i] })
	}
	for _, r := range rounds {
		out.Capped += r.Capped
		out.Busy = out.Busy || r.Busy
		for why, n := range r.Failures {
			out.Failures[why] += n
		}
	}
	return out
}

// middle returns the median; the mean of the two in the middle of an even number.
func middle(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}
