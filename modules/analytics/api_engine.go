package analytics

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// apiEngine is what the API needs of the App that runs.
type apiEngine interface {
	// Status is the state in a word, and all there is to know of it.
	Status() (state string, report any)
	// Store is nil while none is open.
	Store() store.Store
	// Limits bound what one request may ask of the store.
	Limits() apiLimits
}

// apiLimits bound the queries of clients. Zero values take the defaults.
type apiLimits struct {
	Timeout       time.Duration // of one query; default 30s
	MaxPoints     int           // of each series of a range query; default 11,000
	MaxRange      time.Duration // from the first sample looked at to the last; default 30 days
	MaxConcurrent int           // queries at a time; default 8
}

func (l apiLimits) normalise() apiLimits {
	if l.Timeout <= 0 {
		l.Timeout = 30 * time.Second
	}
	if l.MaxPoints <= 0 {
		l.MaxPoints = 11000
	}
	if l.MaxRange <= 0 {
		l.MaxRange = 30 * 24 * time.Hour
	}
	if l.MaxConcurrent <= 0 {
		l.MaxConcurrent = 8
	}
	return l
}

// findApp finds an app of the configuration that runs at this moment: whoever keeps one
// has a dead app after the next reload. A variable, so that tests can stand in for it.
var findApp = func(name string) (any, error) { return caddy.ActiveContext().AppIfConfigured(name) }

// runningEngine returns the App that runs, or why there is none and what to do about it.
func runningEngine() (apiEngine, error) {
	app, err := findApp("analytics")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, apiErrorf(http.StatusServiceUnavailable,
			"analytics is not switched on: add `analytics` to the global options of the Caddyfile, or \"analytics\": {} to the apps")
	}
	if err != nil {
		return nil, apiErrorf(http.StatusServiceUnavailable, "analytics does not run: %w", err)
	}
	e, ok := app.(apiEngine)
	if !ok {
		return nil, apiErrorf(http.StatusServiceUnavailable, "analytics is a module that this API does not know")
	}
	return e, nil
}

// openStore returns the store of the App that runs.
func openStore() (apiEngine, store.Store, error) {
	e, err := runningEngine()
	if err != nil {
		return nil, nil, err
	}
	s := e.Store()
	if s == nil {
		return nil, nil, apiErrorf(http.StatusServiceUnavailable, "the store is not open: /api/analytics/status tells why")
	}
	return e, s, nil
}
