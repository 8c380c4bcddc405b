package analytics

import (
	"cmp"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

func statsResources() []*resource {
	return []*resource{{
		path: "stats", serve: serveStats, answer: statsAnswer{},
		about: "The balancer's figures and what state analytics is in. It answers with or without either.",
	}}
}

// statsAnswer is the whole at a glance.
type statsAnswer struct {
	Time time.Time `json:"time"`
	// Over all pools.
	Totals statsTotals `json:"totals"`
	Pools  []statsPool `json:"pools"`
	// Each backend of each pool.
	Backends []statsBackend `json:"backends"`
	// How what is in flight spreads over the backends of each pool.
	Connections []statsConnections `json:"connection_distribution"`
	// Balancer is "running" or "unavailable".
	Balancer       string `json:"balancer"`
	BalancerReason string `json:"balancer_reason,omitempty"`
	// Analytics is the state of the engine, or "unavailable"; the reason says what is wrong.
	Analytics       string `json:"analytics"`
	AnalyticsReason string `json:"analytics_reason,omitempty"`
	// What /api/analytics/status says.
	AnalyticsStatus *StatusReport `json:"analytics_status,omitempty"`
}

// statsTotals sums pools up. Rates and times are of the last minute.
type statsTotals struct {
	Requests  int64            `json:"requests"`
	Responses map[string]int64 `json:"responses"`
	Active    int64            `json:"active_requests"`
	PerSecond float64          `json:"requests_per_second"`
	// Mean over requests; left out when there was none.
	Average   *float64 `json:"average_response_seconds,omitempty"`
	ErrorRate float64  `json:"error_rate"`
	// Mean of the backends' scores, of 100; left out without backends.
	Health   *float64 `json:"health_score,omitempty"`
	Backends int      `json:"backends"`
	Serving  int      `json:"serving"`
}

type statsPool struct {
	Name string `json:"name"`
	statsTotals
	Panic  bool `json:"panic"`
	Outage bool `json:"outage"`
}

type statsBackend struct {
	Pool      string    `json:"pool"`
	ID        string    `json:"id"`
	State     string    `json:"state"`
	Reason    string    `json:"reason,omitempty"`
	Since     time.Time `json:"since"`
	PerSecond float64   `json:"requests_per_second"`
	Average   *float64  `json:"average_response_seconds,omitempty"`
	P99       *float64  `json:"p99_response_seconds,omitempty"`
	ErrorRate float64   `json:"error_rate"`
	Health    int       `json:"health_score"`
	Share     float64   `json:"share"`  // of the pool's requests of the last minute
	Weight    float64   `json:"weight"` // in force
	InFlight  int64     `json:"in_flight"`
	Requests  int64     `json:"requests"`
}

type statsConnections struct {
	Pool  string `json:"pool"`
	Total int64  `json:"total"`
	// In falling order.
	Backends []statsConnection `json:"backends"`
}

type statsConnection struct {
	ID       string  `json:"id"`
	InFlight int64   `json:"in_flight"`
	Share    float64 `json:"share"`
}

// balancerPools is what is read of the balancer's GET /lbpro/pools.
type balancerPools struct {
	Pools []struct {
		Name       string        `json:"name"`
		Serving    int           `json:"serving"`
		Panic      bool          `json:"panic"`
		Outage     bool          `json:"outage"`
		Active     int64         `json:"active_requests"`
		LastMinute balancerRates `json:"last_minute"`
		Totals     struct {
			Requests  int64            `json:"requests"`
			Responses map[string]int64 `json:"responses"`
		} `json:"totals"`
		Backends []struct {
			ID       string    `json:"id"`
			State    string    `json:"state"`
			Reason   string    `json:"reason"`
			Since    time.Time `json:"since"`
			InFlight int64     `json:"in_flight"`
			Share    float64   `json:"share"`
			Health   struct {
				Score int `json:"score"`
			} `json:"health"`
			Weight struct {
				Effective float64 `json:"effective"`
			} `json:"weight"`
			LastMinute balancerRates `json:"last_minute"`
			Totals     struct {
				Requests int64 `json:"requests"`
			} `json:"totals"`
		} `json:"backends"`
	} `json:"pools"`
}

type balancerRates struct {
	Requests  int64    `json:"requests"`
	PerSecond float64  `json:"requests_per_second"`
	ErrorRate float64  `json:"error_rate"`
	Average   *float64 `json:"average_response_seconds"`
	P99       *float64 `json:"p99_response_seconds"`
}

const (
	stateRunning     = "running"
	stateUnavailable = "unavailable"
)

func serveStats(c *call) error {
	a := newStats(c.r)
	e, err := runningEngine()
	if err != nil {
		a.Analytics, a.AnalyticsReason = stateUnavailable, reasonOf(err)
	} else {
		report := e.StatusReport()
		a.Analytics, a.AnalyticsReason, a.AnalyticsStatus = report.State, report.reason(), &report
	}
	return c.writeJSON(a)
}

// newStats has the balancer's part.
func newStats(r *http.Request) statsAnswer {
	a := statsAnswer{
		Time: time.Now().UTC().Truncate(time.Millisecond), Balancer: stateRunning,
		Pools: []statsPool{}, Backends: []statsBackend{}, Connections: []statsConnections{},
	}
	var pools balancerPools
	if err := balancer.ask(r, "pools", &pools); err != nil {
		a.Balancer, a.BalancerReason = stateUnavailable, reasonOf(err)
	}
	a.fill(pools)
	return a
}

// reason says what is wrong, in a line.
func (r *StatusReport) reason() string { return strings.Join(r.Problems, "; ") }

// reasonOf is the text of an error without its status.
func reasonOf(err error) string {
	var api caddy.APIError
	if errors.As(err, &api) && api.Err != nil {
		return api.Err.Error()
	}
	return err.Error()
}

// sum adds up figures of the last minute.
type sum struct {
	statsTotals
	requests, errors, seconds, timed, health float64
}

func (s *sum) add(r balancerRates) {
	s.PerSecond += r.PerSecond
	s.requests += float64(r.Requests)
	s.errors += r.ErrorRate * float64(r.Requests)
	if r.Average != nil {
		s.seconds += *r.Average * float64(r.Requests)
		s.timed += float64(r.Requests)
	}
}

func (s *sum) totals() statsTotals {
	if s.requests > 0 {
		s.ErrorRate = s.errors / s.requests
	}
	if s.timed > 0 {
		mean := s.seconds / s.timed
		s.Average = &mean
	}
	if s.Backends > 0 {
		mean := s.health / float64(s.Backends)
		s.Health = &mean
	}
	return s.statsTotals
}

func (a *statsAnswer) fill(pools balancerPools) {
	all := sum{statsTotals: statsTotals{Responses: make(map[string]int64)}}
	for _, p := range pools.Pools {
		one := sum{statsTotals: statsTotals{
			Requests: p.Totals.Requests, Responses: maps.Clone(p.Totals.Responses), Active: p.Active,
			Backends: len(p.Backends), Serving: p.Serving,
		}}
		if one.Responses == nil {
			one.Responses = make(map[string]int64)
		}
		one.add(p.LastMinute)
		all.add(p.LastMinute)
		spread := statsConnections{Pool: p.Name, Backends: make([]statsConnection, 0, len(p.Backends))}
		for _, b := range p.Backends {
			one.health += float64(b.Health.Score)
			spread.Total += b.InFlight
			spread.Backends = append(spread.Backends, statsConnection{ID: b.ID, InFlight: b.InFlight})
			a.Backends = append(a.Backends, statsBackend{
				Pool: p.Name, ID: b.ID, State: b.State, Reason: b.Reason, Since: b.Since, PerSecond: b.LastMinute.PerSecond,
				Average: b.LastMinute.Average, P99: b.LastMinute.P99, ErrorRate: b.LastMinute.ErrorRate, Health: b.Health.Score,
				Share: b.Share, Weight: b.Weight.Effective, InFlight: b.InFlight, Requests: b.Totals.Requests,
			})
		}
		for i := range spread.Backends {
			if spread.Total > 0 {
				spread.Backends[i].Share = float64(spread.Backends[i].InFlight) / float64(spread.Total)
			}
		}
		slices.SortStableFunc(spread.Backends, func(x, y statsConnection) int { return cmp.Compare(y.InFlight, x.InFlight) })
		a.Connections = append(a.Connections, spread)

		all.Requests += one.Requests
		all.Active += one.Active
		all.Backends += one.Backends
		all.Serving += one.Serving
		all.health += one.health
		for class, n := range one.Responses {
			all.Responses[class] += n
		}
		a.Pools = append(a.Pools, statsPool{p.Name, one.totals(), p.Panic, p.Outage})
	}
	a.Totals = all.totals()
}
