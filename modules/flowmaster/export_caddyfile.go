package flowmaster

import (
	"math"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
)

// parseExport takes one export out of the global option flowmaster:
//
//	export <address> {
//		domain            <observation domain ID>
//		template_interval <duration>
//		max_octets        <octets>
//		queue             <records>
//		uniflow
//		observed
//	}
func (a *App) parseExport(d *caddyfile.Dispenser) error {
	e := new(Export)
	if !d.Args(&e.To) || d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(1) {
		switch option := d.Val(); option {
		case "domain":
			n, err := unsignedArg(d, math.MaxUint32)
			if err != nil {
				return err
			}
			e.Domain = uint32(n)
		case "template_interval":
			if err := argument.Duration(d, &e.TemplateInterval); err != nil {
				return err
			}
		case "max_octets":
			if err := argument.Count(d, &e.MaxOctets); err != nil {
				return err
			}
		case "queue":
			if err := argument.Count(d, &e.Queue); err != nil {
				return err
			}
		case "uniflow", "observed":
			if err := argument.NoMore(d); err != nil {
				return err
			}
			if option == "uniflow" {
				e.Uniflow = true
			} else {
				e.Observed = true
			}
		default:
			return d.Errf("unrecognized subdirective %q of export", option)
		}
	}
	a.Exports = append(a.Exports, e)
	return nil
}
