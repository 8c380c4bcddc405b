package lbpro

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

func init() {
	caddy.RegisterModule(new(PeakEWMA))
}

// PeakEWMA is the balancer of Finagle and Linkerd
// (https://linkerd.io/2016/03/16/beyond-round-robin-load-balancing-for-latency/): of two
// upstreams drawn in proportion to weight it takes the one with the lower
//
//	latency · (1 + in_flight/weight)
//
// where latency is the moving average of the time to first byte, which a slower answer
// replaces at once and a faster one lowers with a time constant of 10 s. A failure counts
// as an answer of 5 s; an upstream without answers counts as the mean of the others, as
// 30 ms when nothing is known.
//
// In `reverse_proxy` it needs `transport lbpro`.
type PeakEWMA struct{ stock }

// CaddyModule returns the Caddy module information.
func (*PeakEWMA) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: policyID("peak_ewma"), New: func() caddy.Module { return new(PeakEWMA) }}
}

// Provision implements caddy.Provisioner.
func (p *PeakEWMA) Provision(ctx caddy.Context) error {
	return p.provision(ctx, balance.PeakEWMA{}, true)
}

// UnmarshalCaddyfile sets up the policy:
//
//	lb_policy lbpro.peak_ewma {
//	    weight <upstream> <number>
//	}
func (p *PeakEWMA) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return p.policyOptions(d, nil, nil, "")
}

// Interface guards
var (
	_ caddy.Provisioner     = (*PeakEWMA)(nil)
	_ caddy.CleanerUpper    = (*PeakEWMA)(nil)
	_ caddyfile.Unmarshaler = (*PeakEWMA)(nil)
	_ reverseproxy.Selector = (*PeakEWMA)(nil)
	_ balancer              = (*PeakEWMA)(nil)
)
