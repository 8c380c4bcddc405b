package lbpro

import (
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("lbpro", parseApp)
}

// parseApp parses the global option:
//
//	lbpro {
//	    interval     <duration>
//	    heap_reserve <size>
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
		var err error
		switch name := d.Val(); name {
		case "interval":
			err = argument.Duration(d, &a.Interval)
		case "heap_reserve":
			a.HeapReserve = new(int64)
			err = argument.SizeFrom0(d, a.HeapReserve)
		default:
			err = d.Errf("unrecognized subdirective %q of the global option lbpro; there are interval and heap_reserve", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
