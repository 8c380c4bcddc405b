package lbpro

import (
	"math"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/dustin/go-humanize"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("lbpro", parseApp)
}

// parseApp parses the global option:
//
//	lbpro {
//	    interval     <duration>
//	    heap_reserve <size>|off
//	}
//
// It is not needed: the app is there with defaults as soon as a handler `lbpro` is.
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("lbpro is given already: put all its options into one block")
	}
	a := new(App)
	if err := a.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "lbpro", Value: caddyconfig.JSON(a, nil)}, nil
}

// UnmarshalCaddyfile sets up the app from the global option.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		name := d.Val()
		if !d.NextArg() {
			return d.ArgErr()
		}
		switch name {
		case "interval":
			v, err := caddy.ParseDuration(d.Val())
			if err != nil {
				return d.WrapErr(err)
			}
			a.Interval = caddy.Duration(v)
		case "heap_reserve":
			size := uint64(0)
			if d.Val() != "off" {
				var err error
				if size, err = humanize.ParseBytes(d.Val()); err != nil || size > math.MaxInt64 {
					return d.Errf("heap_reserve is %q: it must be a size such as 16MiB, or off", d.Val())
				}
			}
			a.HeapReserve = new(int64(size))
		default:
			return d.Errf("unrecognized subdirective %q of the global option lbpro; there are interval and heap_reserve", name)
		}
		if d.NextArg() {
			return d.ArgErr()
		}
	}
	return nil
}
