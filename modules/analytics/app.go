// Package analytics is the Analytics Engine: it collects what the balancer and the network
// measure, stores it, and says what goes with what.
package analytics

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App collects metrics of this process and of others on pipelines, stores them, and
// analyses them. An empty configuration is a complete one: this process's metrics go to a
// store in Caddy's data directory, and there is a pipeline for each of the balancer, the
// network and Caddy's HTTP server that is there.
//
// It never holds up traffic: what goes wrong in it is counted and shown in its status.
type App struct {
	// How often metrics are collected and signals evaluated. From 1s to 2m. Default: 20s.
	CollectInterval caddy.Duration `json:"collect_interval,omitempty"`
	// How often analyses run. From 1s to 1h. Default: 15s.
	AnalyzeInterval caddy.Duration `json:"analyze_interval,omitempty"`
	// How many points of each series are kept in memory for analysis. Each takes 8 bytes.
	// From 60 to 1000000. Default: 10000.
	MaxHistory int `json:"max_history,omitempty"`
	// How many series of each interval are analysed. The pipelines of the configuration come first, then
	// `balancer`, `network`, `http` and `cross`; within a pipeline signals come in their order, and
	// what comes first keeps its place until it has been silent for the whole history. What
	// has no place is stored all the same, and counted. From 1 to 100000. Default: 1000.
	MaxSeries int `json:"max_series,omitempty"`

	// Where samples are kept. Default: `tsdb`.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=analytics.stores inline_key=type"`
	// Where metrics come from, beside this process's registry.
	SourcesRaw []json.RawMessage `json:"sources,omitempty" caddy:"namespace=analytics.sources inline_key=type"`
	// Leaves out this process's own registry. Default: false.
	NoRegistry bool `json:"no_registry,omitempty"`
	// Pipelines beside the automatic ones. One with the name of an automatic pipeline
	// (`balancer`, `network`, `http`, `cross`) changes that.
	Pipelines []*Pipeline `json:"pipelines,omitempty"`

	// Limits of what the API may ask of the store.
	Query QueryLimits `json:"query,omitzero"`

	ctx    caddy.Context
	logger *zap.Logger
	engine *engine
}

const (
	defaultCollectInterval = 20 * time.Second
	defaultAnalyzeInterval = 15 * time.Second
	defaultMaxHistory      = 10000
	defaultMaxSeries       = 1000

	leastInterval   = time.Second
	mostCollect     = 2 * time.Minute // beyond that PromQL would see gaps: it looks back 5 minutes
	mostAnalyze     = time.Hour
	registryName    = "registry"
	defaultStore    = "tsdb"
	storeSpace      = "analytics.stores"
	sourceSpace     = "analytics.sources"
	leastHistory    = 60
	mostHistory     = 1000000
	mostSeries      = 100000
	mostPipelines   = 100
	mostSignals     = 200 // of a pipeline
	mostSourceCount = 1000
)

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "analytics", New: func() caddy.Module { return new(App) }}
}

// Provision implements caddy.Provisioner. It starts nothing.
func (a *App) Provision(ctx caddy.Context) error {
	began := time.Now()
	a.ctx = ctx
	a.logger = ctx.Logger()
	a.setDefaults()
	if err := a.check(); err != nil {
		return err
	}
	provider, err := a.loadStore(ctx)
	if err != nil {
		return err
	}
	sources, err := a.loadSources(ctx)
	if err != nil {
		return err
	}
	if err := a.checkPipelines(sources); err != nil {
		return err
	}
	if err := registerMetrics(ctx.GetMetricsRegistry()); err != nil {
		return err
	}
	a.engine = newEngine(a, provider, sources)
	a.engine.steps.record(stepConfiguration, began, nil)
	return nil
}

func (a *App) setDefaults() {
	if a.CollectInterval == 0 {
		a.CollectInterval = caddy.Duration(defaultCollectInterval)
	}
	if a.AnalyzeInterval == 0 {
		a.AnalyzeInterval = caddy.Duration(defaultAnalyzeInterval)
	}
	if a.MaxHistory == 0 {
		a.MaxHistory = defaultMaxHistory
	}
	if a.MaxSeries == 0 {
		a.MaxSeries = defaultMaxSeries
	}
	a.Query.setDefaults()
}

func (a *App) check() error {
	between := func(name string, d caddy.Duration, least, most time.Duration) error {
		if v := time.Duration(d); v < least || v > most {
			return fmt.Errorf("%s is %v: it must be between %v and %v", name, v, least, most)
		}
		return nil
	}
	count := func(name string, n, least, most int) error {
		if n < least || n > most {
			return fmt.Errorf("%s is %d: it must be between %d and %d", name, n, least, most)
		}
		return nil
	}
	return errors.Join(
		between("collect_interval", a.CollectInterval, leastInterval, mostCollect),
		between("analyze_interval", a.AnalyzeInterval, leastInterval, mostAnalyze),
		count("max_history", a.MaxHistory, leastHistory, mostHistory),
		count("max_series", a.MaxSeries, 1, mostSeries),
		count("number of pipelines", len(a.Pipelines), 0, mostPipelines),
		count("number of sources", len(a.SourcesRaw), 0, mostSourceCount),
		a.Query.check(),
	)
}

func (a *App) loadStore(ctx caddy.Context) (StoreProvider, error) {
	var mod any
	var err error
	if a.StoreRaw == nil {
		mod, err = ctx.LoadModuleByID(storeSpace+"."+defaultStore, nil)
	} else {
		mod, err = ctx.LoadModule(a, "StoreRaw")
	}
	if err != nil {
		return nil, fmt.Errorf("loading store: %w", err)
	}
	p, ok := mod.(StoreProvider)
	if !ok {
		return nil, fmt.Errorf("store %T cannot be used: it has no method OpenStore", mod)
	}
	return p, nil
}

// loadSources returns the sources, this process's registry first.
func (a *App) loadSources(ctx caddy.Context) ([]Source, error) {
	var sources []Source
	taken := make(map[string]bool)
	add := func(mod any) error {
		s, ok := mod.(Source)
		if !ok {
			return fmt.Errorf("source %T cannot be used: it has no method Run", mod)
		}
		if taken[s.Name()] {
			return fmt.Errorf("two sources are called %q: give one of them another name", s.Name())
		}
		taken[s.Name()] = true
		sources = append(sources, s)
		return nil
	}
	mods := []any{}
	if a.SourcesRaw != nil {
		loaded, err := ctx.LoadModule(a, "SourcesRaw")
		if err != nil {
			return nil, fmt.Errorf("loading sources: %w", err)
		}
		mods = loaded.([]any)
	}
	for _, mod := range mods {
		if err := add(mod); err != nil {
			return nil, err
		}
	}
	if !a.NoRegistry && !taken[registryName] {
		mod, err := ctx.LoadModuleByID(sourceSpace+"."+registryName, nil)
		if err != nil {
			return nil, fmt.Errorf("loading source %s: %w", registryName, err)
		}
		if err := add(mod); err != nil {
			return nil, err
		}
		last := len(sources) - 1
		sources = append([]Source{sources[last]}, sources[:last]...)
	}
	if len(sources) == 0 {
		return nil, errors.New("no source is left: add one, or leave out `registry off` (no_registry)")
	}
	return sources, nil
}

// Start implements caddy.App. What takes time happens beside it: nothing that the engine
// waits for holds up the start of other apps.
func (a *App) Start() error {
	a.engine.start()
	return nil
}

// Stop implements caddy.App: a last collection, then the store is flushed and given back.
func (a *App) Stop() error {
	a.engine.stop()
	return nil
}

// Interface guards
var (
	_ caddy.App         = (*App)(nil)
	_ caddy.Provisioner = (*App)(nil)
)
