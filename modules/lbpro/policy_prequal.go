package lbpro

import (
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

func init() {
	caddy.RegisterModule(new(Prequal))
}

// Prequal chooses by hot and cold (Wydrowski et al., "Load is not what you should balance:
// introducing Prequal", NSDI 2024): of up to 16 upstreams whose requests in flight are
// known, those above a quantile of them are hot, and among the others the one with the
// lowest latency at that load is taken.
//
// Without `probe` it goes by what this proxy sees of its own requests. With it, upstreams
// are asked for their load, which covers what other proxies send them. An upstream answers
// `GET <uri>` with status 200 and a JSON object with `in_flight`, the number of requests
// that it works on or queues, and `latency_seconds`, the median time that recent requests
// have taken at about that number.
//
// In `reverse_proxy` it needs `transport lbpro`.
type Prequal struct {
	stock

	// The quantile of requests in flight above which an upstream is hot; above 0 up to 1,
	// which balances by latency alone. Default: 2^-0.25, about 0.84.
	Quantile float64 `json:"quantile,omitempty"`

	// How upstreams are asked for their load. Default: they are not.
	Probe *LoadProbe `json:"probe,omitempty"`
}

// LoadProbe says how upstreams are asked for their load.
type LoadProbe struct {
	// The URI that is asked for, beginning with a slash.
	URI string `json:"uri,omitempty"`
	// Probes for each request that is placed, above 0 up to 10. They are dropped while
	// there are too many under way. Default: 3.
	Rate float64 `json:"rate,omitempty"`
	// How long an answer counts. Default: 1s.
	Age caddy.Duration `json:"age,omitempty"`
	// How long an answer may take. Default: 250ms.
	Timeout caddy.Duration `json:"timeout,omitempty"`
}

const probeTimeout = 250 * time.Millisecond

// CaddyModule returns the Caddy module information.
func (*Prequal) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: policyID("prequal"), New: func() caddy.Module { return new(Prequal) }}
}

// Provision implements caddy.Provisioner.
func (p *Prequal) Provision(ctx caddy.Context) error {
	picker := &balance.Prequal{Quantile: p.Quantile}
	if c := p.Probe; c != nil {
		picker.Rate, picker.Age = c.Rate, time.Duration(c.Age)
		asker := newProber(ctx, parentOf(ctx), c, picker)
		picker.Probe = asker.ask
	}
	return p.provision(ctx, picker, true)
}

// Validate implements caddy.Validator.
func (p *Prequal) Validate() error {
	if !(p.Quantile >= 0 && p.Quantile <= 1) {
		return fmt.Errorf("quantile is %v: it must be above 0 and at most 1; leave it out for 0.84", p.Quantile)
	}
	c := p.Probe
	if c == nil {
		return nil
	}
	switch {
	case !strings.HasPrefix(c.URI, "/"):
		return fmt.Errorf("probe uri is %q: it must begin with a slash, such as /load", c.URI)
	case !(c.Rate >= 0 && c.Rate <= 10):
		return fmt.Errorf("probe rate is %v: it must be above 0 and at most 10; leave it out for 3", c.Rate)
	case c.Age < 0:
		return fmt.Errorf("probe age is %v: it must be positive; leave it out for 1s", time.Duration(c.Age))
	case c.Timeout < 0:
		return fmt.Errorf("probe timeout is %v: it must be positive; leave it out for 250ms", time.Duration(c.Timeout))
	}
	return nil
}

// UnmarshalCaddyfile sets up the policy:
//
//	lb_policy lbpro.prequal {
//	    quantile      <share>
//	    probe_uri     <uri>
//	    probe_rate    <number>
//	    probe_age     <duration>
//	    probe_timeout <duration>
//	    weight        <upstream> <number>
//	}
func (p *Prequal) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	var c LoadProbe
	err := p.policyOptions(d, nil, map[string]func() error{
		"quantile":      func() error { return argument.NumberFrom0(d, &p.Quantile) },
		"probe_uri":     func() error { return argument.Texts(d, &c.URI) },
		"probe_rate":    func() error { return argument.NumberFrom0(d, &c.Rate) },
		"probe_age":     func() error { return argument.DurationFrom0(d, &c.Age) },
		"probe_timeout": func() error { return argument.DurationFrom0(d, &c.Timeout) },
	}, "quantile, probe_uri, probe_rate, probe_age, probe_timeout")
	if err != nil {
		return err
	}
	if c == (LoadProbe{}) {
		return nil
	}
	if c.URI == "" {
		return d.Err("probe_rate, probe_age and probe_timeout need probe_uri")
	}
	p.Probe = &c
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Prequal)(nil)
	_ caddy.Validator       = (*Prequal)(nil)
	_ caddy.CleanerUpper    = (*Prequal)(nil)
	_ caddyfile.Unmarshaler = (*Prequal)(nil)
	_ reverseproxy.Selector = (*Prequal)(nil)
	_ balancer              = (*Prequal)(nil)
)
