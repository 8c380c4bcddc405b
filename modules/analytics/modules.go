package analytics

import (
	"context"
	"time"

	"github.com/prometheus/prometheus/storage"
	"go.uber.org/zap"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// StoreProvider is a module of the namespace analytics.stores.
type StoreProvider interface {
	// OpenStore opens the store, or finds it open in the process already: during a reload
	// the old and the new configuration share one. release gives it back; the last release
	// flushes and closes it. It is called while the app runs, never while a configuration
	// is only validated.
	OpenStore(env StoreEnv) (s store.Store, release func() error, err error)
}

// StoreEnv is what the engine gives a store.
type StoreEnv struct {
	Logger *zap.Logger
	Query  store.QueryOptions // limits of one query; zero values take the defaults
}

// Source is a module of the namespace analytics.sources: something that metrics come from.
type Source interface {
	// Name is what pipelines call the source. It is unique in a configuration.
	Name() string
	// Run collects every interval into the store, calling done after each collection from
	// each target, until ctx ends; then it collects a last time and returns. done never
	// blocks, and is safe to call from several goroutines.
	Run(ctx context.Context, to storage.AppendableV2, interval time.Duration, done func(Collection)) error
}

// Collection is the outcome of collecting from a source once.
type Collection struct {
	Source  string
	Target  string // which of the source's targets: the label "instance"
	At      time.Time
	Took    time.Duration
	Samples int
	Err     error
}
