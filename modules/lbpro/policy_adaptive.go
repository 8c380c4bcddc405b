package lbpro

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

func init() {
	caddy.RegisterModule(new(Adaptive))
}

// Adaptive sends each request to the upstream that is predicted to answer it soonest. It
// is the default of `lbpro`. It goes by
//
//	cost · crowding((in_flight + 1) / (width · weight))
//
// where cost is the time that the upstream is waited for, from the request to the end of the
// answer, with load and kind of request taken out, made worse by recent failures and by
// requests that are overdue. What a client takes to read is not in it, and of a stream of
// events only the first byte counts. width is how many requests the
// upstream works on at once before more only wait; and crowding grows in proportion above
// 1. All of this is measured; nothing has to be set.
//
// In `reverse_proxy` it needs `transport lbpro`.
type Adaptive struct {
	stock

	// The relative difference below which upstreams count as equal, so that one of them
	// is drawn at random in proportion to weight; above 0 up to 1. Default: 0.1.
	Band float64 `json:"band,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Adaptive) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: policyID("adaptive"), New: func() caddy.Module { return new(Adaptive) }}
}

// Provision implements caddy.Provisioner.
func (p *Adaptive) Provision(ctx caddy.Context) error {
	return p.provision(ctx, balance.Adaptive{Band: p.Band}, true)
}

// Validate implements caddy.Validator.
func (p *Adaptive) Validate() error { return checkBand(p.Band) }

// UnmarshalCaddyfile sets up the policy:
//
//	lb_policy lbpro.adaptive {
//	    band   <share>
//	    weight <upstream> <number>
//	}
func (p *Adaptive) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return p.policyOptions(d, nil, map[string]func() error{
		"band": func() error { return argument.NumberFrom0(d, &p.Band) },
	}, "band")
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Adaptive)(nil)
	_ caddy.Validator       = (*Adaptive)(nil)
	_ caddy.CleanerUpper    = (*Adaptive)(nil)
	_ caddyfile.Unmarshaler = (*Adaptive)(nil)
	_ reverseproxy.Selector = (*Adaptive)(nil)
	_ balancer              = (*Adaptive)(nil)
)
