package lbpro

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

func init() {
	caddy.RegisterModule(new(SmoothRoundRobin))
}

// SmoothRoundRobin gives upstreams their turns in proportion to weight and spread evenly,
// by stride scheduling (Waldspurger and Weihl, 1995), as gRPC's weighted round robin
// does. The turns of an upstream that cannot serve are shared by all others. It starts at
// a random place, so that several balancers do not go in step.
type SmoothRoundRobin struct{ stock }

// CaddyModule returns the Caddy module information.
func (*SmoothRoundRobin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: policyID("smooth_round_robin"), New: func() caddy.Module { return new(SmoothRoundRobin) }}
}

// Provision implements caddy.Provisioner.
func (p *SmoothRoundRobin) Provision(ctx caddy.Context) error {
	return p.provision(ctx, new(balance.RoundRobin), false)
}

// UnmarshalCaddyfile sets up the policy:
//
//	lb_policy lbpro.smooth_round_robin {
//	    weight <upstream> <number>
//	}
func (p *SmoothRoundRobin) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return p.policyOptions(d, nil, nil, "")
}

// Interface guards
var (
	_ caddy.Provisioner     = (*SmoothRoundRobin)(nil)
	_ caddy.CleanerUpper    = (*SmoothRoundRobin)(nil)
	_ caddyfile.Unmarshaler = (*SmoothRoundRobin)(nil)
	_ reverseproxy.Selector = (*SmoothRoundRobin)(nil)
	_ balancer              = (*SmoothRoundRobin)(nil)
)
