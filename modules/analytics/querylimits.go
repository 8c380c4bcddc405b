package analytics

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// QueryLimits bound what one query may cost, and how many run at a time.
type QueryLimits struct {
	// How long a query may take. From 1s to 10m. Default: 30s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
	// How many samples a query may hold in memory. From 1000. Default: 10000000.
	MaxSamples int `json:"max_samples,omitempty"`
	// How many points a range query may have in each series. From 10. Default: 11000.
	MaxPoints int `json:"max_points,omitempty"`
	// How far from its start the end of a query may be. Default: 31 days.
	MaxRange caddy.Duration `json:"max_range,omitempty"`
	// How many queries may run at a time; more are refused. From 1. Default: 8.
	MaxConcurrent int `json:"max_concurrent,omitempty"`
}

func (q *QueryLimits) setDefaults() {
	if q.Timeout == 0 {
		q.Timeout = caddy.Duration(30 * time.Second)
	}
	if q.MaxSamples == 0 {
		q.MaxSamples = 10_000_000
	}
	if q.MaxPoints == 0 {
		q.MaxPoints = 11_000
	}
	if q.MaxRange == 0 {
		q.MaxRange = caddy.Duration(31 * 24 * time.Hour)
	}
	if q.MaxConcurrent == 0 {
		q.MaxConcurrent = 8
	}
}

func (q *QueryLimits) check() error {
	var errs []error
	if d := time.Duration(q.Timeout); d < time.Second || d > 10*time.Minute {
		errs = append(errs, fmt.Errorf("query timeout is %v: it must be between 1s and 10m", d))
	}
	if q.MaxSamples < 1000 {
		errs = append(errs, fmt.Errorf("query max_samples is %d: it must be at least 1000", q.MaxSamples))
	}
	if q.MaxPoints < 10 {
		errs = append(errs, fmt.Errorf("query max_points is %d: it must be at least 10", q.MaxPoints))
	}
	if q.MaxRange < 0 {
		errs = append(errs, fmt.Errorf("query max_range is %v: it must be positive", time.Duration(q.MaxRange)))
	}
	if q.MaxConcurrent < 1 {
		errs = append(errs, fmt.Errorf("query max_concurrent is %d: it must be at least 1", q.MaxConcurrent))
	}
	return errors.Join(errs...)
}
