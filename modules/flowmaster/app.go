// Package flowmaster is Network Flow Master: what the network does under the proxy.
package flowmaster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App measures the connections of this process and collects the flows of other devices.
type App struct {
	// How often a connection that is open is looked at; every connection is looked at
	// when it ends. Default: 10s.
	SweepInterval caddy.Duration `json:"sweep_interval,omitempty"`

	// What is kept of addresses: `mask` keeps their first bits, `hash_daily` replaces
	// them by numbers that stand for an address through one day (UTC), `full` keeps them.
	// Default: mask.
	Addresses string `json:"addresses,omitempty"`

	// How many bits are kept with `mask`.
	Mask *Mask `json:"mask,omitempty"`

	// What bounds memory and work.
	Limits *Limits `json:"limits,omitempty"`

	// What receives the flows of other devices: NetFlow, IPFIX, sFlow.
	CollectorsRaw []json.RawMessage `json:"collectors,omitempty" caddy:"namespace=flowmaster.collectors inline_key=protocol"`

	// Where flows are sent to as IPFIX.
	Exports []*Export `json:"exports,omitempty"`

	// Databases that tell countries and autonomous systems of addresses. Default: none.
	GeoIP *GeoIP `json:"geoip,omitempty"`

	// What of the host's network is read. Default: everything.
	Host *Host `json:"host,omitempty"`

	ctx    caddy.Context
	logger *zap.Logger
	state  *state
	limits Limits // with defaults

	geoKeys []geoKey // what of the databases is to be given back

	collectors []Collector

	parts     []part       // what is started and stopped with the app, in this order
	exporters []recordSink // where flows go that are over
	started   []part
	records   []flow.Record // of the last tick

	balancer backendStates // nil without one

	stop context.CancelFunc
	done chan struct{}
}

// part is something that runs while the app does: a collector, an exporter.
type part interface {
	start() error
	stop() error
}

// recordSink is given flows that are over, or have gone on for long. It must not block:
// what it cannot take it drops and counts. The records are its own only until it returns.
// One that is a part as well is started before all others and stopped after them.
type recordSink interface {
	Take([]flow.Record)
}

const (
	tickInterval = time.Second
	// How often paths are glanced at between two ticks.
	glances = 3
)

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "flowmaster", New: func() caddy.Module { return new(App) }}
}

// Provision implements caddy.Provisioner.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	a.logger = ctx.Logger()
	if a.SweepInterval == 0 {
		a.SweepInterval = caddy.Duration(defaultSweepInterval)
	}
	if i := time.Duration(a.SweepInterval); i < time.Second || i > time.Hour {
		return fmt.Errorf("sweep_interval is %v: it must be between 1s and 1h", i)
	}
	if err := a.Limits.check(); err != nil {
		return err
	}
	a.limits = a.Limits.withDefaults()
	key, err := a.monitorKey()
	if err != nil {
		return err
	}
	if a.state, err = acquireState(key); err != nil {
		return err
	}
	if err := registerMetrics(ctx.GetMetricsRegistry()); err != nil {
		return err
	}
	if err := registerCollectorMetrics(ctx.GetMetricsRegistry()); err != nil {
		return err
	}
	a.parts = append(a.parts, hostPart{a.Host})
	if err := a.provisionSockets(); err != nil {
		return err
	}
	if err := a.provisionGeoIP(); err != nil {
		return err
	}
	if err := a.provisionExports(); err != nil {
		return err
	}
	return a.provisionCollectors()
}

// Start implements caddy.App.
func (a *App) Start() error {
	a.findBalancer()
	for _, p := range a.inOrder() {
		if err := p.start(); err != nil {
			return errors.Join(err, a.stopParts())
		}
		a.started = append(a.started, p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.stop, a.done = cancel, make(chan struct{})
	a.state.claim(a)
	go a.run(ctx)
	return nil
}

// inOrder lists the parts in the order in which they are started: those that take flows
// before those that bring them.
func (a *App) inOrder() []part { return append(a.sinkParts(), a.parts...) }

func (a *App) sinkParts() (all []part) {
	for _, e := range a.exporters {
		if p, ok := e.(part); ok {
			all = append(all, p)
		}
	}
	return all
}

// Stop implements caddy.App.
func (a *App) Stop() error {
	if a.stop == nil {
		return nil
	}
	a.stop()
	<-a.done
	if a.state.alone(a) {
		a.state.lookAtAll(time.Now())
	}
	last := a.state.yield(a)
	var errs []error
	for sinks := len(a.sinkParts()); len(a.started) > sinks; {
		errs = append(errs, a.stopLast())
	}
	if last {
		// Nobody goes on with these flows: exporters get them now.
		a.export(a.state.monitor.Drain(a.records[:0]))
	}
	return errors.Join(append(errs, a.stopParts())...)
}

func (a *App) stopParts() error {
	var errs []error
	for len(a.started) > 0 {
		errs = append(errs, a.stopLast())
	}
	return errors.Join(errs...)
}

func (a *App) stopLast() error {
	n := len(a.started) - 1
	p := a.started[n]
	a.started = a.started[:n]
	return p.stop()
}

// Cleanup implements caddy.CleanerUpper.
func (a *App) Cleanup() error {
	a.releaseGeoIP()
	if a.state != nil {
		a.state.release()
	}
	return nil
}

// run ticks until ctx ends. While the old and the new configuration overlap in a reload,
// only the newer does anything.
func (a *App) run(ctx context.Context) {
	defer close(a.done)
	ticker := time.NewTicker(tickInterval / (glances + 1))
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			switch {
			case a.state.owner.Load() != a:
			case n%(glances+1) == 0:
				a.tick(now)
			default:
				a.guarded(a.glance)
			}
		}
	}
}

// tick does what is done once a second.
func (a *App) tick(now time.Time) {
	a.guarded(func() {
		a.sweep(now)
		a.state.judgePaths(now)
		a.state.endpoints.expire(now)
		a.state.templates.Expire(now)
		a.records = a.state.monitor.Tick(a.records[:0], now)
		a.export(a.records)
	})
}

// guarded does something that no other app may do at the same time. A panic in it is this
// app's, not the traffic's: it is logged and the next tick comes.
func (a *App) guarded(f func()) {
	defer func() {
		if v := recover(); v != nil {
			a.logger.Error("sweeping flows panicked", zap.Any("panic", v), zap.Stack("stack"))
		}
	}()
	a.state.ticking.Lock()
	defer a.state.ticking.Unlock()
	f()
}

func (a *App) export(records []flow.Record) {
	if len(records) == 0 {
		return
	}
	for _, e := range a.exporters {
		e.Take(records)
	}
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
