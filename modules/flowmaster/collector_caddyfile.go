package flowmaster

import (
	"math"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
)

// parseCollector takes one collector out of the global option flowmaster:
//
//	collector netflow|sflow {
//		listen         <addresses...>
//		allow          <addresses or prefixes...>
//		sampling       <interval>
//		workers        <number>
//		receive_buffer <size>
//	}
func (a *App) parseCollector(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	name := d.Val()
	u, err := caddyfile.UnmarshalModule(d, "flowmaster.collectors."+name)
	if err != nil {
		return err
	}
	a.CollectorsRaw = append(a.CollectorsRaw, caddyconfig.JSONModuleObject(u, "protocol", name, nil))
	return nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler; parseCollector shows the syntax.
func (u *UDPCollector) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		switch option := d.Val(); option {
		case "listen", "allow":
			args := d.RemainingArgs()
			if len(args) == 0 {
				return d.ArgErr()
			}
			if option == "listen" {
				u.Listen = append(u.Listen, args...)
			} else {
				u.Allow = append(u.Allow, args...)
			}
		case "sampling":
			n, err := unsignedArg(d, math.MaxUint32)
			if err != nil {
				return err
			}
			u.Sampling = uint32(n)
		case "workers":
			n, err := unsignedArg(d, mostWorkers)
			if err != nil {
				return err
			}
			u.Workers = int(n)
		case "receive_buffer":
			var n int64
			if err := argument.Size(d, &n); err != nil {
				return err
			}
			u.ReceiveBuffer = int(n)
		default:
			return d.Errf("unrecognized subdirective %q", option)
		}
	}
	return nil
}

// unsignedArg takes the only argument of an option, a number from 1 to most.
func unsignedArg(d *caddyfile.Dispenser, most uint64) (uint64, error) {
	option := d.Val()
	var text string
	if !d.AllArgs(&text) {
		return 0, d.ArgErr()
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 || n > most {
		return 0, d.Errf("%s is %q: it must be a number from 1 to %d", option, text, most)
	}
	return n, nil
}
