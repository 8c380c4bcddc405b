package lbpro

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

func init() {
	caddy.RegisterModule(new(LeastRequest))
}

// LeastRequest takes the upstream with the fewest requests in flight per weight; those
// that are equal, as all idle ones are, are drawn in proportion to weight. Up to 64
// upstreams are all looked at, of more a few drawn ones, as Envoy does with two. It knows
// nothing of speed and errors: an upstream that fails at once is never busy.
type LeastRequest struct {
	stock

	// How many upstreams of more than 64 are looked at, 2 to 64. Default: 8.
	Choices int `json:"choices,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*LeastRequest) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: policyID("least_request"), New: func() caddy.Module { return new(LeastRequest) }}
}

// Provision implements caddy.Provisioner.
func (p *LeastRequest) Provision(ctx caddy.Context) error {
	return p.provision(ctx, balance.LeastRequest{Choices: p.Choices}, false)
}

// Validate implements caddy.Validator.
func (p *LeastRequest) Validate() error {
	if p.Choices != 0 && (p.Choices < 2 || p.Choices > 64) {
		return fmt.Errorf("choices is %d: it must be from 2 to 64; leave it out for 8", p.Choices)
	}
	return nil
}

// UnmarshalCaddyfile sets up the policy:
//
//	lb_policy lbpro.least_request {
//	    choices <n>
//	    weight  <upstream> <number>
//	}
func (p *LeastRequest) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return p.policyOptions(d, nil, map[string]func() error{
		"choices": func() error { return argument.CountFrom0(d, &p.Choices) },
	}, "choices")
}

// Interface guards
var (
	_ caddy.Provisioner     = (*LeastRequest)(nil)
	_ caddy.Validator       = (*LeastRequest)(nil)
	_ caddy.CleanerUpper    = (*LeastRequest)(nil)
	_ caddyfile.Unmarshaler = (*LeastRequest)(nil)
	_ reverseproxy.Selector = (*LeastRequest)(nil)
	_ balancer              = (*LeastRequest)(nil)
)
