package lbpro

import (
	"fmt"
	"math/big"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

func init() {
	caddy.RegisterModule(new(Maglev))
}

// Maglev sends requests with the same key to the same upstream, by the lookup table of
// Google's load balancer (Eisenbud et al., NSDI 2016). Shares follow the weights exactly,
// whatever the load; when an upstream comes or goes, few keys of others move. Without a
// bound on load: a hot key stays where it is, see `bounded_hash`.
type Maglev struct {
	stock
	hashKey

	// Size of the table: a prime, best at least a hundred times the number of upstreams,
	// up to 5000011. Default: 65537.
	TableSize int `json:"table_size,omitempty"`
}

// maglevMost is Envoy's bound on the table, a prime.
const maglevMost = 5000011

// CaddyModule returns the Caddy module information.
func (*Maglev) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: policyID("maglev"), New: func() caddy.Module { return new(Maglev) }}
}

// Provision implements caddy.Provisioner.
func (p *Maglev) Provision(ctx caddy.Context) error {
	if err := p.checkSize(); err != nil {
		return err // before a table of that size is made
	}
	p.hashKey.provision()
	p.stock.key = p
	return p.stock.provision(ctx, &balance.Maglev{Size: p.TableSize}, false)
}

func (p *Maglev) checkSize() error {
	n := p.TableSize
	if n == 0 {
		return nil
	}
	if n < 2 || n > maglevMost || !big.NewInt(int64(n)).ProbablyPrime(0) {
		return fmt.Errorf("table_size is %d: it must be a prime up to %d, such as 65537 or 655373", n, maglevMost)
	}
	return nil
}

// Validate implements caddy.Validator.
func (p *Maglev) Validate() error { return p.hashKey.validate() }

// UnmarshalCaddyfile sets up the policy:
//
//	lb_policy lbpro.maglev [<key>] {
//	    key        <placeholder>     # {client_ip} by default
//	    table_size <prime>
//	    weight     <upstream> <number>
//	}
func (p *Maglev) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return p.policyOptions(d, p.parse(d), map[string]func() error{
		"key":        p.option(d),
		"table_size": func() error { return argument.CountFrom0(d, &p.TableSize) },
	}, "key, table_size")
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Maglev)(nil)
	_ caddy.Validator       = (*Maglev)(nil)
	_ caddy.CleanerUpper    = (*Maglev)(nil)
	_ caddyfile.Unmarshaler = (*Maglev)(nil)
	_ reverseproxy.Selector = (*Maglev)(nil)
	_ balancer              = (*Maglev)(nil)
	_ keyer                 = (*Maglev)(nil)
)
