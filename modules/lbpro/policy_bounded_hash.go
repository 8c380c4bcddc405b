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
	caddy.RegisterModule(new(BoundedHash))
}

// BoundedHash sends requests with the same key to the same upstream, as long as that one
// is not overloaded: weighted rendezvous hashing (Thaler and Ravishankar, 1998) with a
// bound on load (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded
// Loads", 2018). An upstream with more than `factor` times its share of the requests in
// flight passes further ones on to the next in the order of their key, so that a hot key
// spreads over as many upstreams as it needs. When an upstream comes or goes, only the
// keys that it wins or loses move. For caches and other state kept by key.
type BoundedHash struct {
	stock
	hashKey

	// How far above the mean the load of an upstream may be, at least 1. Near 1 load is
	// most even, higher ones keep more requests at their first choice. Default: 1.25.
	Factor float64 `json:"factor,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*BoundedHash) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: policyID("bounded_hash"), New: func() caddy.Module { return new(BoundedHash) }}
}

// Provision implements caddy.Provisioner.
func (p *BoundedHash) Provision(ctx caddy.Context) error {
	p.hashKey.provision()
	p.stock.key = p
	return p.stock.provision(ctx, &balance.BoundedHash{Factor: p.Factor}, false)
}

// Validate implements caddy.Validator.
func (p *BoundedHash) Validate() error {
	if p.Factor != 0 && !(p.Factor >= 1) {
		return fmt.Errorf("factor is %v: it must be at least 1, the mean load; leave it out for 1.25", p.Factor)
	}
	return p.hashKey.validate()
}

// UnmarshalCaddyfile sets up the policy:
//
//	lb_policy lbpro.bounded_hash [<key>] {
//	    key    <placeholder>     # {client_ip} by default
//	    factor <number>
//	    weight <upstream> <number>
//	}
func (p *BoundedHash) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return p.policyOptions(d, p.parse(d), map[string]func() error{
		"key":    p.option(d),
		"factor": func() error { return argument.NumberFrom0(d, &p.Factor) },
	}, "key, factor")
}

// Interface guards
var (
	_ caddy.Provisioner     = (*BoundedHash)(nil)
	_ caddy.Validator       = (*BoundedHash)(nil)
	_ caddy.CleanerUpper    = (*BoundedHash)(nil)
	_ caddyfile.Unmarshaler = (*BoundedHash)(nil)
	_ reverseproxy.Selector = (*BoundedHash)(nil)
	_ balancer              = (*BoundedHash)(nil)
	_ keyer                 = (*BoundedHash)(nil)
)
