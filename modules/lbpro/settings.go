package lbpro

import (
	"fmt"
	"math"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// Eject says when a backend is taken out of use and for how long. Everything is on by
// default. What is left out keeps its default; 0 turns a single check off. At most
// `max_percent` of a pool is out at once, and the only backend of a pool never is.
type Eject struct {
	// Turns all ejection off.
	Off bool `json:"off,omitempty"`
	// Failures (5xx answers, broken connections, timeouts) one after the other.
	// Default: 5.
	ConsecutiveFailures *int `json:"consecutive_failures,omitempty"`
	// Share of failed requests within `window`, 0 to 1, once there were `min_requests`.
	// Default: 0.5.
	FailureRatio *float64 `json:"failure_ratio,omitempty"`
	// Least number of requests within `window` for a ratio to count. Default: 20.
	MinRequests *int `json:"min_requests,omitempty"`
	// The sliding window of `failure_ratio` and `success_rate_stdev`. Default: 10s.
	Window caddy.Duration `json:"window,omitempty"`
	// How many standard deviations below the pool's mean a success rate is an outlier, in
	// pools of 5 or more. Default: 1.9.
	SuccessRateStdev *float64 `json:"success_rate_stdev,omitempty"`
	// How many times the pool's median the time to first byte must be, for requests of
	// the same kind and with load taken out. Default: 5.
	LatencyFactor *float64 `json:"latency_factor,omitempty"`
	// In how many windows of a second, one after the other. Default: 5.
	LatencyWindows int `json:"latency_windows,omitempty"`
	// How long a backend must be silent, with requests waiting that are overdue for their
	// kind, to count as hung. Default: 5s.
	Hang *caddy.Duration `json:"hang,omitempty"`
	// Length of a first ejection; it doubles each time up to `max_time`, with a quarter
	// of jitter. Default: 500ms.
	BaseTime caddy.Duration `json:"base_time,omitempty"`
	// Longest ejection. It is short by default because looking again costs nobody
	// anything: the request that does is repeated elsewhere. Default: 5s.
	MaxTime caddy.Duration `json:"max_time,omitempty"`
	// Most of the pool that may be out at once, in percent. Default: 50.
	MaxPercent *float64 `json:"max_percent,omitempty"`
}

// SlowStart brings a backend that recovered, or joined a pool with traffic, to its full
// share step by step. It does not apply when Caddy starts.
type SlowStart struct {
	// How long the ramp takes; 0 turns it off. Default: 5s.
	Window *caddy.Duration `json:"window,omitempty"`
	// Share at the start of the ramp, above 0 up to 1. Default: 0.1.
	MinWeight float64 `json:"min_weight,omitempty"`
	// Bends the ramp: share = (elapsed/window)^(1/aggression). Default: 1, a straight line.
	Aggression float64 `json:"aggression,omitempty"`
}

// Retry says when a request is tried again: when it failed and is safe to repeat
// (GET, HEAD, OPTIONS, TRACE, PUT, DELETE, anything with an Idempotency-Key header or that
// `lb_retry_match` names, or when nothing was sent), never at a backend that was tried
// while another was not.
type Retry struct {
	// Share of the pool's active requests that may be repeats, 0 to 1. Default: 0.2.
	Budget *float64 `json:"budget,omitempty"`
	// Repeats that are always allowed, however few requests are active. Default: 10.
	MinConcurrency *int `json:"min_concurrency,omitempty"`
	// Most attempts for one request, the first included; 1 never repeats. Default: 4.
	Attempts int `json:"attempts,omitempty"`
	// Back-off before the third attempt; it doubles, with full jitter. The second goes at
	// once, because it goes to another backend. Default: 25ms.
	Backoff *caddy.Duration `json:"backoff,omitempty"`
	// Longest back-off. Default: 250ms.
	MaxBackoff caddy.Duration `json:"max_backoff,omitempty"`
	// How long one attempt may take to the first byte. Default: 0, no limit: a request
	// that is merely long is never cut.
	PerTryTimeout caddy.Duration `json:"per_try_timeout,omitempty"`
	// The largest request body, in bytes, that is kept in memory so that it can be sent
	// again. Default: 64 KiB.
	MaxBody *int64 `json:"max_body,omitempty"`
}

// Queue is where requests wait that no backend can take now: all are at their `limit`, or
// none has answered since it last failed.
type Queue struct {
	// Most requests that wait; further ones get 503 with Retry-After. 0 turns waiting
	// off. Default: 8192.
	Size *int `json:"size,omitempty"`
	// Longest wait of one request; then it gets 503 with Retry-After. Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
}

// settings are the options with every default filled in.
type settings struct {
	pool         balance.Options
	budget       float64
	floor        int
	attempts     int
	backoff      balance.Backoff
	perTry       time.Duration
	maxBody      int64
	queueSize    int
	queueTimeout time.Duration
	hedge        bool
	patient      bool // queue.timeout was asked for: wait even in a long outage
}

func set[T any](dst *T, src *T) {
	if src != nil {
		*dst = *src
	}
}

// positive overwrites dst where src was given.
func positive[T int | int64 | float64 | time.Duration](dst *T, src T) {
	if src != 0 {
		*dst = src
	}
}

// settings fills in the defaults and refuses what cannot be meant.
func (h *Handler) settings() (settings, error) {
	s := settings{
		pool:         balance.DefaultOptions(),
		budget:       0.2,
		floor:        10,
		attempts:     4,
		backoff:      balance.Backoff{Base: 25 * time.Millisecond, Max: 250 * time.Millisecond},
		maxBody:      64 << 10,
		queueSize:    8192,
		queueTimeout: 5 * time.Second,
		hedge:        true,
	}
	if lb := h.LoadBalancing; lb != nil {
		if lb.Retries > 0 {
			s.attempts = lb.Retries + 1
		}
		if d := time.Duration(lb.TryDuration); d > 0 {
			s.queueTimeout, s.patient = d, true
		}
	}
	if err := h.Eject.fill(&s.pool.Eject); err != nil {
		return s, err
	}
	if err := h.SlowStart.fill(&s.pool.SlowStart); err != nil {
		return s, err
	}
	set(&s.pool.PanicThreshold, h.PanicThreshold)
	if t := s.pool.PanicThreshold; !(t >= 0 && t <= 1) {
		return s, fmt.Errorf("panic_threshold is %v: it is a share from 0 to 1", t)
	}
	set(&s.hedge, h.Hedge)
	s.pool.Hedge = s.hedge
	if err := h.fillRetry(&s); err != nil {
		return s, err
	}
	// What request_buffers holds can be sent again as well; -1 holds everything.
	if n := h.RequestBuffers; n < 0 {
		s.maxBody = math.MaxInt64
	} else {
		s.maxBody = max(s.maxBody, n)
	}
	if q := h.Queue; q != nil {
		set(&s.queueSize, q.Size)
		if s.queueSize < 0 {
			return s, fmt.Errorf("queue size is %d: it cannot be negative; 0 turns waiting off", s.queueSize)
		}
		if q.Timeout < 0 {
			return s, fmt.Errorf("queue timeout is %v: it must be positive", time.Duration(q.Timeout))
		}
		if q.Timeout > 0 {
			s.queueTimeout, s.patient = time.Duration(q.Timeout), true
		}
	}
	if h.Limit < 0 {
		return s, fmt.Errorf("limit is %d: it cannot be negative; 0 is no limit", h.Limit)
	}
	for id, w := range h.Weights {
		if !(w >= 0 && w <= 1e6) {
			return s, fmt.Errorf("weight of %s is %v: it must be from 0 to 1000000", id, w)
		}
	}
	return s, nil
}

func (h *Handler) fillRetry(s *settings) error {
	r := h.Retry
	if r == nil {
		return nil
	}
	set(&s.budget, r.Budget)
	set(&s.floor, r.MinConcurrency)
	positive(&s.attempts, r.Attempts)
	if r.Backoff != nil {
		s.backoff.Base = time.Duration(*r.Backoff)
		s.backoff.Max = max(s.backoff.Max, s.backoff.Base)
	}
	positive(&s.backoff.Max, time.Duration(r.MaxBackoff))
	s.perTry = time.Duration(r.PerTryTimeout)
	set(&s.maxBody, r.MaxBody)
	switch {
	case !(s.budget >= 0 && s.budget <= 1):
		return fmt.Errorf("retry budget is %v: it is a share from 0 to 1", s.budget)
	case s.floor < 0:
		return fmt.Errorf("retry min_concurrency is %d: it cannot be negative", s.floor)
	case s.attempts < 1 || s.attempts > 100:
		return fmt.Errorf("retry attempts is %d: it must be from 1 (never repeat) to 100", s.attempts)
	case s.backoff.Base < 0 || s.backoff.Max < s.backoff.Base:
		return fmt.Errorf("retry max_backoff is %v and backoff is %v: the first must not be below the second", s.backoff.Max, s.backoff.Base)
	case s.perTry < 0:
		return fmt.Errorf("retry per_try_timeout is %v: it cannot be negative; 0 is no limit", s.perTry)
	case s.maxBody < 0:
		return fmt.Errorf("retry max_body is %d: it cannot be negative", s.maxBody)
	}
	// A budget of 0 asks for no repeats. With the floor left at its default that is
	// what it gets; attempts above 1 then contradict it.
	if r.Budget != nil && *r.Budget == 0 {
		if r.MinConcurrency == nil {
			s.floor = 0
		}
		if s.floor == 0 && r.Attempts > 1 {
			return fmt.Errorf("retry budget 0 allows no repeats, but attempts is %d: set attempts to 1, or a budget above 0, or min_concurrency", r.Attempts)
		}
	}
	return nil
}

func (e *Eject) fill(o *balance.EjectOptions) error {
	if e == nil {
		return nil
	}
	o.Disabled = e.Off
	if e.ConsecutiveFailures != nil {
		o.ConsecutiveFailures = int64(*e.ConsecutiveFailures)
	}
	set(&o.FailureRatio, e.FailureRatio)
	if e.MinRequests != nil {
		o.MinRequests = float64(*e.MinRequests)
	}
	positive(&o.Window, time.Duration(e.Window))
	set(&o.SuccessRateStdev, e.SuccessRateStdev)
	set(&o.LatencyFactor, e.LatencyFactor)
	positive(&o.LatencyWindows, e.LatencyWindows)
	if e.Hang != nil {
		o.Hang = time.Duration(*e.Hang)
	}
	positive(&o.BaseTime, time.Duration(e.BaseTime))
	if e.BaseTime > 0 {
		o.MaxTime = max(o.MaxTime, o.BaseTime)
	}
	positive(&o.MaxTime, time.Duration(e.MaxTime))
	set(&o.MaxPercent, e.MaxPercent)
	switch {
	case o.ConsecutiveFailures < 0:
		return fmt.Errorf("eject consecutive_failures is %d: it cannot be negative; 0 turns the check off", o.ConsecutiveFailures)
	case !(o.FailureRatio >= 0 && o.FailureRatio <= 1):
		return fmt.Errorf("eject failure_ratio is %v: it is a share from 0 to 1", o.FailureRatio)
	case o.MinRequests < 1:
		return fmt.Errorf("eject min_requests is %v: it must be at least 1", o.MinRequests)
	case o.Window < 100*time.Millisecond:
		return fmt.Errorf("eject window is %v: it must be at least 100ms", o.Window)
	case !(o.SuccessRateStdev >= 0):
		return fmt.Errorf("eject success_rate_stdev is %v: it cannot be negative; 0 turns the check off", o.SuccessRateStdev)
	case !(o.LatencyFactor == 0 || o.LatencyFactor > 1):
		return fmt.Errorf("eject latency_factor is %v: it must be above 1; 0 turns the check off", o.LatencyFactor)
	case o.LatencyWindows < 1:
		return fmt.Errorf("eject latency_windows is %d: it must be at least 1", o.LatencyWindows)
	case o.Hang < 0:
		return fmt.Errorf("eject hang is %v: it cannot be negative; 0 turns the check off", o.Hang)
	case o.BaseTime < time.Millisecond || o.MaxTime < o.BaseTime:
		return fmt.Errorf("eject max_time is %v and base_time is %v: base_time must be at least 1ms and max_time not below it", o.MaxTime, o.BaseTime)
	case !(o.MaxPercent >= 0 && o.MaxPercent <= 100):
		return fmt.Errorf("eject max_percent is %v: it must be from 0 to 100", o.MaxPercent)
	}
	return nil
}

func (s *SlowStart) fill(o *balance.SlowStartOptions) error {
	if s == nil {
		return nil
	}
	if s.Window != nil {
		o.Window = time.Duration(*s.Window)
	}
	positive(&o.MinWeight, s.MinWeight)
	positive(&o.Aggression, s.Aggression)
	switch {
	case o.Window < 0:
		return fmt.Errorf("slow_start window is %v: it cannot be negative; 0 turns slow start off", o.Window)
	case !(o.MinWeight > 0 && o.MinWeight <= 1):
		return fmt.Errorf("slow_start min_weight is %v: it must be above 0 and at most 1", o.MinWeight)
	case !(o.Aggression >= 0.1 && o.Aggression <= 10):
		return fmt.Errorf("slow_start aggression is %v: it must be from 0.1 to 10", o.Aggression)
	}
	return nil
}
