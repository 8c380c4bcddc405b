package analytics

import (
	"encoding/json"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("analytics", parseOption)
}

// parseOption sets up the app. `analytics` alone is complete:
//
//	analytics {
//	    collect_interval <duration>
//	    analyze_interval <duration>
//	    max_history      <points>
//	    max_series       <n>
//	    store  <type> [<options...>]
//	    source <type> [<options...>]
//	    registry off
//	    pipeline <name> off
//	    pipeline <name> {
//	        source   <name>
//	        interval <duration>
//	        signal   <name> <promql> [<unit> [up|down]]
//	        signal   <name> {
//	            expr <promql>
//	            unit <unit>
//	            good up|down
//	            help <text>
//	        }
//	    }
//	    query {
//	        timeout        <duration>
//	        max_samples    <n>
//	        max_points     <n>
//	        max_range      <duration>
//	        max_concurrent <n>
//	    }
//	}
func parseOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("analytics is given already")
	}
	a := new(App)
	if err := a.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "analytics", Value: caddyconfig.JSON(a, nil)}, nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler; parseOption has the syntax.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		name := d.Val()
		if seen[name] && name != "source" && name != "pipeline" {
			return d.Errf("%s is given already", name)
		}
		seen[name] = true
		if err := a.parseOne(d, name); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) parseOne(d *caddyfile.Dispenser, name string) (err error) {
	switch name {
	case "collect_interval":
		return argument.Duration(d, &a.CollectInterval)
	case "analyze_interval":
		return argument.Duration(d, &a.AnalyzeInterval)
	case "max_history":
		return argument.Count(d, &a.MaxHistory)
	case "max_series":
		return argument.Count(d, &a.MaxSeries)
	case "store":
		a.StoreRaw, err = parseModule(d, storeSpace, "a store")
	case "source":
		var raw json.RawMessage
		raw, err = parseModule(d, sourceSpace, "a source")
		a.SourcesRaw = append(a.SourcesRaw, raw)
	case "registry":
		var v string
		if !d.AllArgs(&v) || v != "off" {
			return d.Err("registry takes nothing but off: this process's metrics are collected unless that is given")
		}
		a.NoRegistry = true
	case "pipeline":
		return a.parsePipeline(d)
	case "query":
		return a.Query.parse(d)
	default:
		return d.Errf("unrecognized subdirective %q; analytics takes collect_interval, analyze_interval, max_history, max_series, "+
			"store, source, registry, pipeline and query", name)
	}
	return err
}

// parseModule parses `NAME TYPE ...` into the module TYPE of a namespace.
func parseModule(d *caddyfile.Dispenser, space, what string) (json.RawMessage, error) {
	if !d.NextArg() {
		return nil, d.ArgErr()
	}
	kind := d.Val()
	if _, err := caddy.GetModule(space + "." + kind); err != nil {
		var known []string
		for _, m := range caddy.GetModules(space) {
			known = append(known, m.ID.Name())
		}
		return nil, d.Errf("%q is not %s; there are %s", kind, what, strings.Join(known, ", "))
	}
	mod, err := caddyfile.UnmarshalModule(d, space+"."+kind)
	if err != nil {
		return nil, err
	}
	return caddyconfig.JSONModuleObject(mod, "type", kind, nil), nil
}

func (a *App) parsePipeline(d *caddyfile.Dispenser) error {
	p := new(Pipeline)
	if !d.NextArg() {
		return d.ArgErr()
	}
	p.Name = d.Val()
	if d.NextArg() {
		if d.Val() != "off" || d.NextArg() {
			return d.Errf("pipeline %s %q: it takes a block of options, or off", p.Name, d.Val())
		}
		p.Off = true
	}
	for d.NextBlock(1) {
		switch name := d.Val(); name {
		case "source":
			if !d.AllArgs(&p.Source) {
				return d.ArgErr()
			}
		case "interval":
			if err := argument.Duration(d, &p.Interval); err != nil {
				return err
			}
		case "signal":
			s, err := parseSignal(d)
			if err != nil {
				return err
			}
			p.Signals = append(p.Signals, s)
		default:
			return d.Errf("unrecognized subdirective %q; a pipeline takes source, interval and signal", name)
		}
	}
	a.Pipelines = append(a.Pipelines, p)
	return nil
}

func parseSignal(d *caddyfile.Dispenser) (s Signal, err error) {
	args := d.RemainingArgs()
	if len(args) == 0 || len(args) > 4 {
		return s, d.ArgErr()
	}
	for i, to := range []*string{&s.Name, &s.Expr, &s.Unit, (*string)(&s.Good)} {
		if i < len(args) {
			*to = args[i]
		}
	}
	for d.NextBlock(2) {
		var to *string
		switch name := d.Val(); name {
		case "expr":
			to = &s.Expr
		case "unit":
			to = &s.Unit
		case "good":
			to = (*string)(&s.Good)
		case "help":
			to = &s.Help
		default:
			return s, d.Errf("unrecognized subdirective %q; a signal takes expr, unit, good and help", name)
		}
		if !d.AllArgs(to) {
			return s, d.ArgErr()
		}
	}
	if err := s.check(); err != nil {
		return s, d.WrapErr(err)
	}
	return s, nil
}

func (q *QueryLimits) parse(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(1) {
		var err error
		switch name := d.Val(); name {
		case "timeout":
			err = argument.Duration(d, &q.Timeout)
		case "max_samples":
			err = argument.Count(d, &q.MaxSamples)
		case "max_points":
			err = argument.Count(d, &q.MaxPoints)
		case "max_range":
			err = argument.Duration(d, &q.MaxRange)
		case "max_concurrent":
			err = argument.Count(d, &q.MaxConcurrent)
		default:
			err = d.Errf("unrecognized subdirective %q; query takes timeout, max_samples, max_points, max_range and max_concurrent", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*App)(nil)
