package flowmaster

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("flowmaster", parseApp)
}

// parseApp parses the global option:
//
//	flowmaster {
//	    sweep_interval <duration>
//	    addresses      mask|hash_daily|full
//	    mask           <bits of IPv4> <bits of IPv6>
//	    limits {
//	        flows             <n>
//	        flow_idle         <duration>
//	        flow_active       <duration>
//	        top_k             <n>
//	        connections       <n>
//	        sweep_connections <n>
//	        names             <n>
//	        exporters         <n>
//	        domains           <n>
//	        templates         <n>
//	        fields            <n>
//	        template_bytes    <size>
//	        template_ttl      <duration>
//	        rate              <datagrams per second>
//	    }
//	    collector netflow|sflow { ... }
//	    export <address> { ... }
//	    host off|{ ... }
//	    geoip <files...> { ... }
//	}
//
// `flowmaster` alone measures own connections, with defaults.
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("flowmaster is given already: put all its options into one block")
	}
	a := new(App)
	if err := a.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "flowmaster", Value: caddyconfig.JSON(a, nil)}, nil
}

// UnmarshalCaddyfile sets up the app from the global option.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		name := d.Val()
		parse, repeats := a.option(name)
		if parse == nil {
			return d.Errf("unrecognized subdirective %q of flowmaster", name)
		}
		if seen[name] && !repeats {
			return d.Errf("%s is given already", name)
		}
		seen[name] = true
		if err := parse(d); err != nil {
			return err
		}
	}
	return nil
}

// option returns the parser of an option, and whether it may stand more than once; nil if
// there is no such option.
func (a *App) option(name string) (parse func(*caddyfile.Dispenser) error, repeats bool) {
	switch name {
	case "sweep_interval":
		return func(d *caddyfile.Dispenser) error { return argument.Duration(d, &a.SweepInterval) }, false
	case "addresses":
		return func(d *caddyfile.Dispenser) error { return argument.Texts(d, &a.Addresses) }, false
	case "mask":
		return a.parseMask, false
	case "limits":
		return a.parseLimits, false
	case "host":
		return a.parseHost, false
	case "geoip":
		return a.parseGeoIP, false
	case "export":
		return a.parseExport, true
	case "collector":
		return a.parseCollector, true
	}
	return nil, false
}

func (a *App) parseMask(d *caddyfile.Dispenser) error {
	a.Mask = &Mask{IPv4: new(int), IPv6: new(int)}
	for _, to := range []*int{a.Mask.IPv4, a.Mask.IPv6} {
		if !d.NextArg() {
			return d.ArgErr()
		}
		n, err := strconv.Atoi(d.Val())
		if err != nil {
			return d.Errf("mask %q: it must be the number of bits that are kept, such as 24", d.Val())
		}
		*to = n
	}
	return argument.NoMore(d)
}

func (a *App) parseLimits(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	l := new(Limits)
	a.Limits = l
	counts := map[string]*int{
		"flows": &l.Flows, "top_k": &l.TopK, "connections": &l.Connections, "sweep_connections": &l.SweepConnections, "names": &l.Names,
		"exporters": &l.Exporters, "domains": &l.Domains, "templates": &l.Templates, "fields": &l.Fields, "rate": &l.Rate,
	}
	durations := map[string]*caddy.Duration{"flow_idle": &l.FlowIdle, "flow_active": &l.FlowActive, "template_ttl": &l.TemplateTTL}
	for d.NextBlock(1) {
		name := d.Val()
		var err error
		switch {
		case counts[name] != nil:
			err = argument.Count(d, counts[name])
		case durations[name] != nil:
			err = argument.Duration(d, durations[name])
		case name == "template_bytes":
			err = argument.Size(d, &l.TemplateBytes)
		default:
			return d.Errf("unknown limit %q; the limits are flows, flow_idle, flow_active, top_k, connections, sweep_connections, names, "+
				"exporters, domains, templates, fields, template_bytes, template_ttl and rate", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*App)(nil)
)
