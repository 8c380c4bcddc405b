package flowmaster

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/decode"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// Mask is how many bits of addresses are kept.
type Mask struct {
	// Of IPv4 addresses. Default: 24.
	IPv4 *int `json:"ipv4,omitempty"`
	// Of IPv6 addresses. Default: 48.
	IPv6 *int `json:"ipv6,omitempty"`
}

// Limits bounds what is remembered. What a limit turns away is counted.
type Limits struct {
	// Active flows in the table; when it is full the quietest makes room. Default: 100000.
	Flows int `json:"flows,omitempty"`
	// How long a flow is kept that nothing is heard of. Default: 60s.
	FlowIdle caddy.Duration `json:"flow_idle,omitempty"`
	// How long a flow may go on until it is reported and counted anew. Default: 5m.
	FlowActive caddy.Duration `json:"flow_active,omitempty"`
	// Keys that each top list counts. Default: 1000; at most 100000.
	TopK int `json:"top_k,omitempty"`
	// Own connections that are looked at while they are open. More are measured only
	// when they end. Default: 100000.
	Connections int `json:"connections,omitempty"`
	// Connections that are looked at in one second. Default: 10000.
	SweepConnections int `json:"sweep_connections,omitempty"`
	// Backends and servers that are told apart; more are counted together as `other`.
	// Default: 1000.
	Names int `json:"names,omitempty"`
	// Devices that send flows. Default: 256.
	Exporters int `json:"exporters,omitempty"`
	// Observation domains of each exporter. Default: 256.
	Domains int `json:"domains,omitempty"`
	// Templates of each exporter. Default: 1024.
	Templates int `json:"templates,omitempty"`
	// Fields of each template. Default: 128.
	Fields int `json:"fields,omitempty"`
	// What all templates together take, in bytes. Default: 33554432.
	TemplateBytes int64 `json:"template_bytes,omitempty"`
	// How long a template is remembered that is neither sent nor used. Default: 30m.
	TemplateTTL caddy.Duration `json:"template_ttl,omitempty"`
	// Datagrams that each exporter may send in a second. Default: 0, any number.
	Rate int `json:"rate,omitempty"`
}

const (
	defaultSweepInterval    = 10 * time.Second
	defaultFlows            = 100_000
	defaultFlowIdle         = time.Minute
	defaultFlowActive       = 5 * time.Minute
	defaultTopK             = 1000
	defaultConnections      = 100_000
	defaultSweepConnections = 10_000
	defaultNames            = 1000
)

// The choices of App.Addresses.
const (
	addressesMask      = "mask"
	addressesHashDaily = "hash_daily"
	addressesFull      = "full"
)

// withDefaults returns the limits with what was left out.
func (l *Limits) withDefaults() Limits {
	var full Limits
	if l != nil {
		full = *l
	}
	or(&full.Flows, defaultFlows)
	or(&full.FlowIdle, caddy.Duration(defaultFlowIdle))
	or(&full.FlowActive, caddy.Duration(defaultFlowActive))
	or(&full.TopK, defaultTopK)
	or(&full.Connections, defaultConnections)
	or(&full.SweepConnections, defaultSweepConnections)
	or(&full.Names, defaultNames)
	return full
}

func or[T int | int64 | caddy.Duration](v *T, otherwise T) {
	if *v == 0 {
		*v = otherwise
	}
}

// check refuses limits that make no sense.
func (l *Limits) check() error {
	if l == nil {
		return nil
	}
	for name, v := range map[string]int64{
		"flows": int64(l.Flows), "flow_idle": int64(l.FlowIdle), "flow_active": int64(l.FlowActive), "top_k": int64(l.TopK),
		"connections": int64(l.Connections), "sweep_connections": int64(l.SweepConnections), "names": int64(l.Names),
		"exporters": int64(l.Exporters), "domains": int64(l.Domains), "templates": int64(l.Templates), "fields": int64(l.Fields),
		"template_bytes": l.TemplateBytes, "template_ttl": int64(l.TemplateTTL), "rate": int64(l.Rate),
	} {
		if v < 0 {
			return fmt.Errorf("limit %s is %d: it must be above 0, or left out for the default", name, v)
		}
	}
	if l.TopK > 100_000 {
		return fmt.Errorf("limit top_k is %d: it must be at most 100000", l.TopK)
	}
	return nil
}

// decoding returns the limits of the template store.
func (l *Limits) decoding() decode.Limits {
	return decode.Limits{
		Exporters: l.Exporters, Domains: l.Domains, Templates: l.Templates, Fields: l.Fields,
		TemplateBytes: l.TemplateBytes, DatagramsPerSecond: l.Rate, TTL: time.Duration(l.TemplateTTL),
	}
}

// monitorKey says what the monitor of this configuration keeps.
func (a *App) monitorKey() (monitorKey, error) {
	k := monitorKey{
		mask: flow.DefaultMask, flows: a.limits.Flows, topK: a.limits.TopK,
		idle: time.Duration(a.limits.FlowIdle), active: time.Duration(a.limits.FlowActive),
	}
	switch a.Addresses {
	case "", addressesMask:
		if a.Mask == nil {
			break
		}
		if err := bits(&k.mask.IPv4, a.Mask.IPv4, "ipv4", 32); err != nil {
			return k, err
		}
		if err := bits(&k.mask.IPv6, a.Mask.IPv6, "ipv6", 128); err != nil {
			return k, err
		}
		if k.mask == (flow.Mask{}) {
			return k, fmt.Errorf("mask keeps no bit of any address: keep at least one of ipv4 or ipv6")
		}
		return k, nil
	case addressesHashDaily, addressesFull:
		k.mask, k.hash = flow.NoMask, a.Addresses == addressesHashDaily
	default:
		return k, fmt.Errorf("addresses is %q: it must be %s, %s or %s", a.Addresses, addressesMask, addressesHashDaily, addressesFull)
	}
	if a.Mask != nil {
		return k, fmt.Errorf("mask is set, but addresses is %s: leave one of them out", a.Addresses)
	}
	return k, nil
}

func bits(to *uint8, v *int, name string, most int) error {
	if v == nil {
		return nil
	}
	if *v < 0 || *v > most {
		return fmt.Errorf("mask %s is %d: it must be between 0 and %d", name, *v, most)
	}
	*to = uint8(*v)
	return nil
}
