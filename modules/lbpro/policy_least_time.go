package lbpro

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

func init() {
	caddy.RegisterModule(new(LeastTime))
}

// LeastTime takes the upstream with the lowest
//
//	latency · (1 + in_flight/weight) / success_rate²
//
// where latency is the moving average of the time to first byte of good answers. It is
// `least_time` of nginx and `leasttime` of Traefik, except that an upstream without
// answers counts as the mean of the pool rather than as the fastest, that errors do not
// count as fast answers, and that the latency of one that nobody asks returns to the mean
// of the pool with a time constant of 10 s.
//
// In `reverse_proxy` it needs `transport lbpro`.
type LeastTime struct {
	stock

	// The relative difference below which upstreams count as equal, so that one of them
	// is drawn at random in proportion to weight; above 0 up to 1. Default: 0.1.
	Band float64 `json:"band,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*LeastTime) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: policyID("least_time"), New: func() caddy.Module { return new(LeastTime) }}
}

// Provision implements caddy.Provisioner.
func (p *LeastTime) Provision(ctx caddy.Context) error {
	return p.provision(ctx, balance.LeastTime{Band: p.Band}, true)
}

// Validate implements caddy.Validator.
func (p *LeastTime) Validate() error { return checkBand(p.Band) }

// UnmarshalCaddyfile sets up the policy:
//
//	lb_policy lbpro.least_time {
//	    band   <share>
//	    weight <upstream> <number>
//	}
func (p *LeastTime) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return p.policyOptions(d, nil, map[string]func() error{
		"band": func() error { return argument.NumberFrom0(d, &p.Band) },
	}, "band")
}

// Interface guards
var (
	_ caddy.Provisioner     = (*LeastTime)(nil)
	_ caddy.Validator       = (*LeastTime)(nil)
	_ caddy.CleanerUpper    = (*LeastTime)(nil)
	_ caddyfile.Unmarshaler = (*LeastTime)(nil)
	_ reverseproxy.Selector = (*LeastTime)(nil)
	_ balancer              = (*LeastTime)(nil)
)
