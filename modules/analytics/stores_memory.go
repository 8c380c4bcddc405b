package analytics

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

func init() {
	caddy.RegisterModule(new(MemoryStore))
}

// MemoryStore keeps samples in memory: they survive a reload, and are gone with the process.
type MemoryStore struct {
	// How many series are kept. What is beyond is turned away and counted. Default: 10000.
	MaxSeries int `json:"max_series,omitempty"`
	// How many samples of a series are kept; the oldest go first. Default: 10000.
	MaxSamples int `json:"max_samples,omitempty"`
	// How many bytes the samples may take; the oldest go first. Default: 256 MiB.
	MaxSize int64 `json:"max_size,omitempty"`
	// How long samples are kept. Default: 24h.
	Retention caddy.Duration `json:"retention,omitempty"`
	// How far behind the newest sample of its series another may be. This is what lets
	// collecting go on after the clock was set back. Default: 1h.
	OutOfOrder caddy.Duration `json:"out_of_order,omitempty"`

	logger *slog.Logger
}

// CaddyModule returns the Caddy module information.
func (*MemoryStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "analytics.stores.memory", New: func() caddy.Module { return new(MemoryStore) }}
}

// Provision implements caddy.Provisioner.
func (m *MemoryStore) Provision(ctx caddy.Context) error {
	m.logger = ctx.Slogger()
	return nil
}

// Validate implements caddy.Validator.
func (m *MemoryStore) Validate() error {
	return errors.Join(
		atLeast("max_series", int64(m.MaxSeries), 1),
		atLeast("max_samples", int64(m.MaxSamples), 10),
		atLeast("max_size", m.MaxSize, 1<<20),
		noShorter("retention", m.Retention, time.Minute),
		noShorter("out_of_order", m.OutOfOrder, time.Second),
	)
}

// atLeast checks an option for which 0 is the default.
func atLeast(name string, v, least int64) error {
	if v != 0 && v < least {
		return fmt.Errorf("%s is %d: it must be at least %d", name, v, least)
	}
	return nil
}

// noShorter checks an option for which 0 is the default.
func noShorter(name string, v caddy.Duration, least time.Duration) error {
	if v != 0 && time.Duration(v) < least {
		return fmt.Errorf("%s is %v: it must be at least %v", name, time.Duration(v), least)
	}
	return nil
}

// OpenStore implements StoreProvider.
func (m *MemoryStore) OpenStore(env StoreEnv) (store.Store, func() error, error) {
	opts := store.MemoryOptions{
		MaxSeries:  m.MaxSeries,
		MaxSamples: m.MaxSamples,
		MaxBytes:   m.MaxSize,
		Retention:  time.Duration(m.Retention),
		OutOfOrder: time.Duration(m.OutOfOrder),
		Query:      env.Query,
	}
	return shareStore("memory", m.logger,
		func(l *slog.Logger) (store.Store, error) {
			opts.Logger = l
			return store.NewMemory(opts), nil
		},
		func(s store.Store) error {
			s.(*store.Memory).Apply(opts)
			return nil
		})
}

// UnmarshalCaddyfile sets up the store. Syntax:
//
//	store memory {
//	    max_series   <n>
//	    max_samples  <n>
//	    max_size     <size>
//	    retention    <duration>
//	    out_of_order <duration>
//	}
func (m *MemoryStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the type
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		var err error
		switch name := d.Val(); name {
		case "max_series":
			err = argument.Count(d, &m.MaxSeries)
		case "max_samples":
			err = argument.Count(d, &m.MaxSamples)
		case "max_size":
			err = argument.Size(d, &m.MaxSize)
		case "retention":
			err = argument.Duration(d, &m.Retention)
		case "out_of_order":
			err = argument.Duration(d, &m.OutOfOrder)
		default:
			err = d.Errf("unrecognized subdirective %q; the store memory takes max_series, max_samples, max_size, retention and out_of_order", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Interface guards
var (
	_ StoreProvider         = (*MemoryStore)(nil)
	_ caddy.Provisioner     = (*MemoryStore)(nil)
	_ caddy.Validator       = (*MemoryStore)(nil)
	_ caddyfile.Unmarshaler = (*MemoryStore)(nil)
)
