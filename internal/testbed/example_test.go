package testbed_test

import (
	"fmt"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/internal/testbed"
)

// shortestQueue sends each request to the backend with the fewest in flight.
type shortestQueue []int

func (q shortestQueue) Pick(time.Duration) (backend int, token any) {
	for i := range q {
		if q[i] < q[backend] {
			backend = i
		}
	}
	q[backend]++
	return backend, backend
}

func (q shortestQueue) Done(token any, _, _ time.Duration, _ bool) { q[token.(int)]-- }

// A policy is tried in virtual time and held against the bound.
func ExampleSimulate() {
	s, err := testbed.NewScenario("slow-one", testbed.ScenarioOptions{Scale: 5, Seed: 1})
	if err != nil {
		panic(err)
	}
	r, err := testbed.Simulate(s, testbed.SimConfig{
		Policy: func(int) testbed.SimPolicy { return make(shortestQueue, len(s.Backends)) },
	})
	if err != nil {
		panic(err)
	}
	bound, err := testbed.Clairvoyant(s)
	if err != nil {
		panic(err)
	}
	ratio := float64(r.Quantile(.99)) / float64(bound.Quantile(.99))
	fmt.Printf("%d backends, all answered: %t, p99 more than twice the bound: %t\n",
		len(r.Backends), r.OK == r.Sent, ratio > 2)
	// Output: 5 backends, all answered: true, p99 more than twice the bound: true
}
