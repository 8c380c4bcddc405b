package analytics

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/prometheus/scrape"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// apiEngine is what the API needs of the App that runs.
type apiEngine interface {
	StatusReport() StatusReport
	PipelineReports() []PipelineStatus
	CurrentSignals() []SignalReport
	// Store is nil while none is open.
	Store() store.Store
	QueryLimits() QueryLimits
	// ScrapedMetadata is of the metrics of others than this process.
	ScrapedMetadata() []scrape.MetricMetadata
	// FrameFor returns the series called names, all without names, and what they are, in
	// the same order.
	FrameFor(ctx context.Context, from, to time.Time, step time.Duration, names []string) (*window.Frame, []SeriesInfo, error)
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

// Interface guards
var _ apiEngine = (*App)(nil)
