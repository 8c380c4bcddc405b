package flowmaster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/geo"
)

// GeoIP says which databases tell countries and autonomous systems of addresses.
type GeoIP struct {
	// Files in MaxMind's format (.mmdb) with country codes, AS numbers or both. Where more
	// than one knows something, the first has its way. A file that is replaced while Caddy
	// runs is taken over within the sweep interval.
	Files []string `json:"files,omitempty"`

	// The size of the largest file that is read, in bytes. Default: 536870912.
	MaxSize int64 `json:"max_size,omitempty"`
}

// parseGeoIP takes the part about databases of addresses out of the global option flowmaster:
//
//	geoip <files...> {
//	    max_size <size>
//	}
func (a *App) parseGeoIP(d *caddyfile.Dispenser) error {
	g := &GeoIP{Files: d.RemainingArgs()}
	if len(g.Files) == 0 {
		return d.ArgErr()
	}
	a.GeoIP = g
	for d.NextBlock(1) {
		if d.Val() != "max_size" {
			return d.Errf("unrecognized subdirective %q of geoip", d.Val())
		}
		if err := argument.Size(d, &g.MaxSize); err != nil {
			return err
		}
	}
	return nil
}

// geoKey is what two configurations have to agree on to share a database.
type geoKey struct {
	file string
	max  int64
}

// provisionGeoIP reads the databases. Those that the running configuration has are not read
// again, unless their files are others now; then these must be good.
func (a *App) provisionGeoIP() error {
	g := a.GeoIP
	if g == nil {
		return nil
	}
	if len(g.Files) == 0 {
		return errors.New("geoip has no files: name at least one, or leave geoip out")
	}
	if g.MaxSize < 0 || g.MaxSize > geo.MaxMaxSize {
		return fmt.Errorf("geoip max_size is %d: it must be between 1 and %d bytes", g.MaxSize, int64(geo.MaxMaxSize))
	}
	seen := make(map[string]bool)
	for _, file := range g.Files {
		if file == "" || seen[file] {
			return fmt.Errorf("geoip file %q: each must have a name, and stand there once", file)
		}
		seen[file] = true
		if err := a.openGeoIP(geoKey{file, g.MaxSize}); err != nil {
			return fmt.Errorf("geoip %s: %w; name a database in MaxMind's format (.mmdb) of countries, cities or AS numbers, or leave it out", file, err)
		}
	}
	a.parts = append(a.parts, &geoPart{app: a})
	return nil
}

func (a *App) openGeoIP(k geoKey) error {
	v, shared, err := states.LoadOrNew(k, func() (caddy.Destructor, error) {
		d, err := geo.Open(a.ctx, k.file, k.max)
		return pooled[*geo.Database]{d}, err
	})
	if err != nil {
		return err
	}
	d := v.(pooled[*geo.Database]).v
	a.geoKeys = append(a.geoKeys, k)
	a.state.geo = append(a.state.geo, d)
	if !shared {
		return nil
	}
	if _, err := d.Refresh(a.ctx, time.Now()); err != nil {
		return err
	}
	return d.Err()
}

func (a *App) releaseGeoIP() {
	for _, k := range a.geoKeys {
		_, _ = states.Delete(k)
	}
	a.geoKeys = nil
}

// geoPart looks for files that were replaced, apart from the tick: to read one takes a while.
type geoPart struct {
	app *App
	runner
}

func (p *geoPart) start() error {
	p.begin(p.run)
	return nil
}

func (p *geoPart) run(ctx context.Context) {
	ticker := time.NewTicker(time.Duration(p.app.SweepInterval))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			p.app.refreshGeoIP(ctx, now)
		}
	}
}

// refreshGeoIP takes over files that were replaced.
func (a *App) refreshGeoIP(ctx context.Context, now time.Time) {
	for i, d := range a.state.geo {
		switch changed, err := d.Refresh(ctx, now); {
		case err != nil && ctx.Err() == nil:
			a.logger.Error("a database of addresses was replaced by one that cannot be used; the old one stays in force",
				zap.String("file", a.GeoIP.Files[i]), zap.Error(err))
		case changed:
			s := d.Status()
			a.logger.Info("a database of addresses was replaced", zap.String("file", s.File), zap.String("type", s.Type),
				zap.Time("built", s.Built), zap.Int("networks", s.Networks))
		}
	}
}

// geoMetrics are read from the databases of the running configuration. The label is the
// name of the file, as it is configured.
var geoMetrics = []metric[*geo.Status]{
	{"geoip_build_timestamp_seconds", "When the publisher made the database of addresses that is in force, in seconds since 1970.", prometheus.GaugeValue, "file",
		func(s *geo.Status, emit emitter) { emit(float64(s.Built.Unix()), s.File) }},
	{"geoip_networks", "Networks that the database of addresses tells apart.", prometheus.GaugeValue, "file",
		func(s *geo.Status, emit emitter) { emit(float64(s.Networks), s.File) }},
	{"geoip_failures_total", "Versions of the file that could not be used.", prometheus.CounterValue, "file",
		func(s *geo.Status, emit emitter) { emit(float64(s.Failures), s.File) }},
}

// eachGeoIP calls f for every database of the running configuration.
func (p *process) eachGeoIP(f func(*geo.Status)) {
	a := p.owner.Load()
	if a == nil {
		return
	}
	for _, d := range a.state.geo {
		s := d.Status()
		f(&s)
	}
}
