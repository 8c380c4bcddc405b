package lbpro

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

func init() {
	caddy.RegisterModule(new(P2C))
}

// P2C is the power of two choices: of two upstreams drawn in proportion to weight it takes
// the one with fewer requests in flight per weight
// (Mitzenmacher, 1996; https://www.eecs.harvard.edu/~michaelm/postscripts/tpds2001.pdf).
// Simple and robust, also with many balancers; it knows nothing of speed and errors.
type P2C struct{ stock }

// CaddyModule returns the Caddy module information.
func (*P2C) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: policyID("p2c"), New: func() caddy.Module { return new(P2C) }}
}

// Provision implements caddy.Provisioner.
func (p *P2C) Provision(ctx caddy.Context) error {
	return p.provision(ctx, balance.TwoChoices{}, false)
}

// UnmarshalCaddyfile sets up the policy:
//
//	lb_policy lbpro.p2c {
//	    weight <upstream> <number>
//	}
func (p *P2C) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return p.policyOptions(d, nil, nil, "")
}

// Interface guards
var (
	_ caddy.Provisioner     = (*P2C)(nil)
	_ caddy.CleanerUpper    = (*P2C)(nil)
	_ caddyfile.Unmarshaler = (*P2C)(nil)
	_ reverseproxy.Selector = (*P2C)(nil)
	_ balancer              = (*P2C)(nil)
)
