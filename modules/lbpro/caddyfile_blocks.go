package lbpro

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
)

// off parses `NAME off` and reports whether that is what stands there; anything else
// must be a block.
func off(d *caddyfile.Dispenser) (bool, error) {
	name := d.Val()
	if !d.NextArg() {
		return false, nil
	}
	if d.Val() != "off" {
		return false, d.Errf("%s %q: it takes a block of options, or off", name, d.Val())
	}
	if d.NextArg() {
		return false, d.ArgErr()
	}
	return true, nil
}

// options parses a block of options by name.
func (h *Handler) options(d *caddyfile.Dispenser, of string, known map[string]func() error, order string) error {
	seen := make(map[string]bool)
	for d.NextBlock(1) {
		name := d.Val()
		parse := known[name]
		if parse == nil {
			return d.Errf("unknown option %q of %s; the options are %s", name, of, order)
		}
		if seen[name] {
			return d.Errf("option %q of %s is given already", name, of)
		}
		seen[name] = true
		h.place(of+" "+name, d)
		if err := parse(); err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) parseEject(d *caddyfile.Dispenser) error {
	if h.Eject == nil {
		h.Eject = new(Eject)
	}
	e := h.Eject
	none, err := off(d)
	if e.Off = none; err != nil || none {
		return err
	}
	return h.options(d, "eject", map[string]func() error{
		"consecutive_failures": func() error { e.ConsecutiveFailures = new(int); return argument.CountFrom0(d, e.ConsecutiveFailures) },
		"failure_ratio":        func() error { e.FailureRatio = new(float64); return argument.NumberFrom0(d, e.FailureRatio) },
		"min_requests":         func() error { e.MinRequests = new(int); return argument.CountFrom0(d, e.MinRequests) },
		"window":               func() error { return argument.Duration(d, &e.Window) },
		"success_rate_stdev":   func() error { e.SuccessRateStdev = new(float64); return argument.NumberFrom0(d, e.SuccessRateStdev) },
		"latency_factor":       func() error { e.LatencyFactor = new(float64); return argument.NumberFrom0(d, e.LatencyFactor) },
		"latency_windows":      func() error { return argument.Count(d, &e.LatencyWindows) },
		"hang":                 func() error { e.Hang = new(caddy.Duration); return argument.DurationFrom0(d, e.Hang) },
		"base_time":            func() error { return argument.Duration(d, &e.BaseTime) },
		"max_time":             func() error { return argument.Duration(d, &e.MaxTime) },
		"max_percent":          func() error { e.MaxPercent = new(float64); return argument.NumberFrom0(d, e.MaxPercent) },
	}, "consecutive_failures, failure_ratio, min_requests, window, success_rate_stdev, latency_factor, latency_windows, hang, base_time, max_time, max_percent")
}

func (h *Handler) parseSlowStart(d *caddyfile.Dispenser) error {
	if h.SlowStart == nil {
		h.SlowStart = new(SlowStart)
	}
	s := h.SlowStart
	none, err := off(d)
	if err != nil {
		return err
	}
	if none {
		s.Window = new(caddy.Duration)
		return nil
	}
	return h.options(d, "slow_start", map[string]func() error{
		"window":     func() error { s.Window = new(caddy.Duration); return argument.DurationFrom0(d, s.Window) },
		"min_weight": func() error { return argument.Number(d, &s.MinWeight) },
		"aggression": func() error { return argument.Number(d, &s.Aggression) },
	}, "window, min_weight, aggression")
}

func (h *Handler) parseRetry(d *caddyfile.Dispenser) error {
	if h.Retry == nil {
		h.Retry = new(Retry)
	}
	r := h.Retry
	none, err := off(d)
	if err != nil {
		return err
	}
	if none {
		r.Attempts = 1
		return nil
	}
	return h.options(d, "retry", map[string]func() error{
		"budget":          func() error { r.Budget = new(float64); return argument.NumberFrom0(d, r.Budget) },
		"min_concurrency": func() error { r.MinConcurrency = new(int); return argument.CountFrom0(d, r.MinConcurrency) },
		"attempts":        func() error { return argument.Count(d, &r.Attempts) },
		"backoff": func() error {
			r.Backoff = new(caddy.Duration)
			return argument.DurationsFrom0(d, r.Backoff, &r.MaxBackoff)
		},
		"per_try_timeout": func() error { return argument.DurationFrom0(d, &r.PerTryTimeout) },
		"max_body":        func() error { r.MaxBody = new(int64); return argument.SizeFrom0(d, r.MaxBody) },
	}, "budget, min_concurrency, attempts, backoff, per_try_timeout, max_body")
}

func (h *Handler) parseQueue(d *caddyfile.Dispenser) error {
	if h.Queue == nil {
		h.Queue = new(Queue)
	}
	q := h.Queue
	none, err := off(d)
	if err != nil {
		return err
	}
	if none {
		q.Size = new(int)
		return nil
	}
	return h.options(d, "queue", map[string]func() error{
		"size":    func() error { q.Size = new(int); return argument.CountFrom0(d, q.Size) },
		"timeout": func() error { return argument.Duration(d, &q.Timeout) },
	}, "size, timeout")
}
