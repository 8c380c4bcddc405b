package lbpro

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App is what the `lbpro` handlers and policies of one configuration share. It is there
// by itself as soon as one of them is configured.
type App struct {
	// How often backends are judged while there is traffic: the speed at which a silent
	// or failing backend is noticed. Default: 5ms.
	Interval caddy.Duration `json:"interval,omitempty"`

	// Memory in bytes that Go's garbage collector takes for used, so that it runs less
	// often: under load a seventh of the processor time is saved, and the slowest requests
	// are quicker. It takes no pages itself, but up to as much garbage again is let lie.
	// At most a sixteenth of a memory limit is taken, and nothing when GOGC is set.
	// 0 switches it off. Default: 16777216 (16 MiB).
	HeapReserve *int64 `json:"heap_reserve,omitempty"`

	ctx    caddy.Context
	logger *zap.Logger
	events *caddyevents.App

	mu    sync.Mutex
	pools map[string]*poolUse // by name
	stop  context.CancelFunc
	done  chan struct{}
}

// poolUse is one pool in this configuration.
type poolUse struct {
	pool      *sharedPool
	signature string // of what makes it: members and settings
	path      pathSource

	// What this configuration says of the pool and its backends, put in force by Start.
	options balance.Options
	settle  []func()
}

// apply puts the configuration's settings in force.
func (u *poolUse) apply() {
	u.pool.SetOptions(u.options)
	for _, f := range u.settle {
		f()
	}
}

const (
	defaultInterval = 5 * time.Millisecond
	// idleInterval is the pace while nothing is in flight anywhere.
	idleInterval = 50 * time.Millisecond
)

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "lbpro", New: func() caddy.Module { return new(App) }}
}

// Provision implements caddy.Provisioner.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	a.logger = ctx.Logger()
	a.pools = make(map[string]*poolUse)
	if a.Interval == 0 {
		a.Interval = caddy.Duration(defaultInterval)
	}
	events, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("getting events app: %w", err)
	}
	a.events = events.(*caddyevents.App)
	if a.HeapReserve == nil {
		a.HeapReserve = new(int64(defaultHeapReserve))
	}
	return registerMetrics(ctx.GetMetricsRegistry())
}

// Validate implements caddy.Validator.
func (a *App) Validate() error {
	if i := time.Duration(a.Interval); i < time.Millisecond || i > time.Second {
		return fmt.Errorf("interval is %v: it must be between 1ms and 1s", i)
	}
	if n := *a.HeapReserve; n < 0 || n > mostHeapReserve {
		return fmt.Errorf("heap_reserve is %d bytes: it must be between 0, which is none, and %d", n, mostHeapReserve)
	}
	return nil
}

// usePool gives a handler its pool. Handlers of one configuration share a pool by giving
// it the same name, and then have to agree on its settings; an unnamed pool is named
// after its first upstream, and one with the same first upstream but another list gets
// a number.
func (a *App) usePool(name string, named bool, signature string, o balance.Options) (*sharedPool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	base := name
	for n := 2; ; n++ {
		u := a.pools[name]
		if u == nil {
			break
		}
		if u.signature == signature {
			break
		}
		if named {
			return nil, fmt.Errorf("pool %q is set up differently elsewhere in this configuration: "+
				"give both the same settings (eject, slow_start, panic_threshold, hedge), or another name to one of them", name)
		}
		name = base + "#" + strconv.Itoa(n)
	}
	p, err := acquirePool(name, o)
	if err != nil {
		return nil, err
	}
	if a.pools[name] == nil {
		a.pools[name] = &poolUse{pool: p, signature: signature, options: o}
	}
	return p, nil
}

// whenStarted has f called when this configuration takes over the pool. Until then the
// pool belongs to the one that runs, and if the new one fails it stays as it is.
func (a *App) whenStarted(p *sharedPool, f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.pools[p.Name]
	u.settle = append(u.settle, f)
}

// Start implements caddy.App: from here on the pools are judged, by this configuration's
// settings.
func (a *App) Start() error {
	ctx, cancel := context.WithCancel(context.Background())
	a.stop, a.done = cancel, make(chan struct{})
	a.mu.Lock()
	for _, u := range a.pools {
		u.pool.signals.add(a)
		u.apply()
	}
	a.mu.Unlock()
	reserve.set(a, *a.HeapReserve)
	go a.run(ctx)
	return nil
}

// Stop implements caddy.App.
func (a *App) Stop() error {
	if a.stop == nil {
		return nil
	}
	a.stop()
	<-a.done
	reserve.drop(a)
	type heir struct {
		app  *App
		pool string
	}
	var heirs []heir
	a.mu.Lock()
	for name, u := range a.pools {
		if next := u.pool.signals.remove(a); next != nil {
			heirs = append(heirs, heir{next, name})
		}
	}
	a.mu.Unlock()
	// When this is the newer configuration, it ends because it failed to start: what the
	// older one says holds again.
	for _, h := range heirs {
		h.app.mu.Lock()
		h.app.pools[h.pool].apply()
		h.app.mu.Unlock()
	}
	return nil
}

// run judges the pools until ctx ends. While the old and the new configuration overlap
// in a reload, both do; Pool.Tick lets one in at a time.
func (a *App) run(ctx context.Context) {
	defer close(a.done)
	every := time.Duration(a.Interval)
	timer := time.NewTimer(every)
	defer timer.Stop()
	lastSlow, next := clock(), every
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now := clock()
		busy := false
		slow := now-lastSlow >= time.Second
		if slow {
			lastSlow = now
		}
		a.mu.Lock()
		for _, u := range a.pools {
			busy = a.tick(u, now, next, slow) || busy
		}
		a.mu.Unlock()
		next = every
		if !busy {
			next = max(every, idleInterval)
		}
		timer.Reset(next)
	}
}

// tick judges one pool and reports whether it has traffic. A panic in it is the
// engine's, not the traffic's: it is logged and the next tick comes.
func (a *App) tick(u *poolUse, now, every time.Duration, slow bool) (busy bool) {
	defer func() {
		if v := recover(); v != nil {
			a.logger.Error("judging a pool panicked", zap.String("pool", u.pool.Name), zap.Any("panic", v), zap.Stack("stack"))
		}
	}()
	busy = u.pool.Active() > 0
	u.pool.Tick(now, every)
	u.pool.watch(now)
	if slow {
		u.pool.measure(now)
		u.pool.expire(now)
		u.advise(a.ctx, now)
	}
	return busy
}

// Interface guards
var (
	_ caddy.App             = (*App)(nil)
	_ caddy.Provisioner     = (*App)(nil)
	_ caddy.Validator       = (*App)(nil)
	_ caddyfile.Unmarshaler = (*App)(nil)
)
