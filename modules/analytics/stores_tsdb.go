package analytics

import (
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

func init() {
	caddy.RegisterModule(new(TSDBStore))
}

// TSDBStore keeps samples in a Prometheus TSDB in a directory, embedded in this process.
type TSDBStore struct {
	// The directory, which is this store's alone. It may have placeholders of the
	// environment. Default: `analytics/tsdb` in Caddy's data directory.
	Dir string `json:"dir,omitempty"`
	// How long samples are kept. Default: 15 days.
	Retention caddy.Duration `json:"retention,omitempty"`
	// How many bytes the blocks may take; the oldest go first. The log of the last hours
	// comes on top. Default: 2 GiB.
	MaxSize int64 `json:"max_size,omitempty"`
	// How many series of the last hours are kept. What is beyond is turned away and
	// counted. Default: 100000.
	MaxSeries int `json:"max_series,omitempty"`
	// How far behind the newest sample another may be. This is what lets collecting go on
	// after the clock was set back. Default: 1h.
	OutOfOrder caddy.Duration `json:"out_of_order,omitempty"`
	// How often the log is forced to disk. A process that ends in any way loses nothing;
	// a machine that loses power loses no more than this. Default: 10s.
	FlushInterval caddy.Duration `json:"flush_interval,omitempty"`

	logger *slog.Logger
}

// CaddyModule returns the Caddy module information.
func (*TSDBStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "analytics.stores.tsdb", New: func() caddy.Module { return new(TSDBStore) }}
}

// Provision implements caddy.Provisioner.
func (t *TSDBStore) Provision(ctx caddy.Context) error {
	t.logger = ctx.Slogger()
	dir, err := storeDir(t.Dir, "tsdb")
	if err != nil {
		return err
	}
	t.Dir = dir
	return nil
}

// storeDir is where a store keeps its files.
func storeDir(dir, kind string) (string, error) {
	dir, err := caddy.NewReplacer().ReplaceOrErr(dir, true, true)
	if err != nil {
		return "", err
	}
	if dir == "" {
		dir = filepath.Join(caddy.AppDataDir(), "analytics", kind)
	}
	return filepath.Abs(dir)
}

// Validate implements caddy.Validator.
func (t *TSDBStore) Validate() error {
	return errors.Join(
		noShorter("retention", t.Retention, 10*time.Minute),
		atLeast("max_size", t.MaxSize, 1<<20),
		atLeast("max_series", int64(t.MaxSeries), 1),
		noShorter("out_of_order", t.OutOfOrder, time.Second),
		noShorter("flush_interval", t.FlushInterval, 100*time.Millisecond),
	)
}

// OpenStore implements StoreProvider.
func (t *TSDBStore) OpenStore(env StoreEnv) (store.Store, func() error, error) {
	opts := store.TSDBOptions{
		Dir:           t.Dir,
		Retention:     time.Duration(t.Retention),
		MaxBytes:      t.MaxSize,
		MaxSeries:     t.MaxSeries,
		OutOfOrder:    time.Duration(t.OutOfOrder),
		FlushInterval: time.Duration(t.FlushInterval),
		Query:         env.Query,
	}
	return shareStore("tsdb "+t.Dir, t.logger,
		func(l *slog.Logger) (store.Store, error) {
			opts.Logger = l
			return store.OpenTSDB(opts)
		},
		func(s store.Store) error { return s.(*store.TSDB).Apply(opts) })
}

// UnmarshalCaddyfile sets up the store. Syntax:
//
//	store tsdb [<dir>] {
//	    dir            <dir>
//	    retention      <duration>
//	    max_size       <size>
//	    max_series     <n>
//	    out_of_order   <duration>
//	    flush_interval <duration>
//	}
func (t *TSDBStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the type
	if d.NextArg() {
		t.Dir = d.Val()
		if d.NextArg() {
			return d.ArgErr()
		}
	}
	for d.NextBlock(0) {
		var err error
		switch name := d.Val(); name {
		case "dir":
			if !d.AllArgs(&t.Dir) {
				err = d.ArgErr()
			}
		case "retention":
			err = argument.Duration(d, &t.Retention)
		case "max_size":
			err = argument.Size(d, &t.MaxSize)
		case "max_series":
			err = argument.Count(d, &t.MaxSeries)
		case "out_of_order":
			err = argument.Duration(d, &t.OutOfOrder)
		case "flush_interval":
			err = argument.Duration(d, &t.FlushInterval)
		default:
			err = d.Errf("unrecognized subdirective %q; the store tsdb takes dir, retention, max_size, max_series, out_of_order and flush_interval", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Interface guards
var (
	_ StoreProvider         = (*TSDBStore)(nil)
	_ caddy.Provisioner     = (*TSDBStore)(nil)
	_ caddy.Validator       = (*TSDBStore)(nil)
	_ caddyfile.Unmarshaler = (*TSDBStore)(nil)
)
