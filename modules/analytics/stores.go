package analytics

import (
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// StoreProvider is what a module in the namespace analytics.stores is.
type StoreProvider interface {
	// OpenStore opens the store, or joins it where it is already open: across a reload
	// the same directory or URL is the same store. Call it from Start, as it takes locks
	// and starts goroutines, and call the function it returns once, from Stop: the last
	// one out closes the store.
	OpenStore(env StoreEnv) (store.Store, func() error, error)
}

// StoreEnv is what a store needs of the app that opens it.
type StoreEnv struct {
	Logger *zap.Logger
	// Registerer takes the store's own metrics; nil is fine.
	Registerer prometheus.Registerer
	// Query limits what one query may cost. Zero values take the defaults.
	Query store.QueryOptions
}
