package analytics

import (
	"net/http"
)

// liveReports are what the engine finds by itself, over and over.
type liveReports interface {
	// Each is nil before the first.
	MatrixNow() *MatrixReport
	NetworkNow() *LaggedReport
	TrendsNow() *TrendsReport
}

// MatrixNow returns the correlations of all pairs at no lag, or nil before the first.
func (a *App) MatrixNow() *MatrixReport { return a.engine.analyses.matrix() }

// NetworkNow returns what the balancer has to do with the network, or nil before the first.
func (a *App) NetworkNow() *LaggedReport { return a.engine.analyses.lagged() }

// TrendsNow returns the trends of the windows, or nil before the first.
func (a *App) TrendsNow() *TrendsReport { return a.engine.analyses.trends() }

// liveResources cost nothing to ask: the engine keeps them current.
func liveResources() []*resource {
	return []*resource{
		{
			path: "analytics/live/matrix", serve: serveLiveMatrix, answer: MatrixReport{},
			about:  "The correlation of all pairs of series at no lag over the newest 600 steps, kept current by the engine: the pairs that are significant are the edges of a graph whose nodes are the series.",
			params: []param{{"matrix", "Also the coefficients of all pairs, a row for each series."}},
		},
		{
			path: "analytics/live/network", serve: serveLiveNetwork, answer: LaggedReport{},
			about: "Which signals of the balancer follow, or come before, which of the network, over the newest 600 steps, found anew every minute; and whether that is still so with the request rate of the pool taken out.",
		},
		{
			path: "analytics/live/trends", serve: serveLiveTrends, answer: TrendsReport{},
			about: "The trend of each series over the newest 600 steps, found anew every minute, and less often where there are more than 200.",
		},
	}
}

// reports returns the live reports of the engine that runs.
func reports() (liveReports, error) {
	e, err := runningEngine()
	if err != nil {
		return nil, err
	}
	l, ok := e.(liveReports)
	if !ok {
		return nil, apiErrorf(http.StatusServiceUnavailable, "this engine keeps no reports")
	}
	return l, nil
}

// notYet says why a report is missing.
func notYet() error {
	return apiErrorf(http.StatusServiceUnavailable, "there is no report yet: the first analysis runs an analyze_interval after the start; /api/analytics/status tells when")
}

func serveLiveMatrix(c *call) error {
	rows, err := c.flag("matrix")
	if err != nil {
		return err
	}
	l, err := reports()
	if err != nil {
		return err
	}
	r := l.MatrixNow()
	if r == nil {
		return notYet()
	}
	if !rows {
		graph := *r
		graph.R = nil
		r = &graph
	}
	return c.writeJSON(r)
}

func serveLiveNetwork(c *call) error {
	l, err := reports()
	if err != nil {
		return err
	}
	if r := l.NetworkNow(); r != nil {
		return c.writeJSON(r)
	}
	return notYet()
}

func serveLiveTrends(c *call) error {
	l, err := reports()
	if err != nil {
		return err
	}
	if r := l.TrendsNow(); r != nil {
		return c.writeJSON(r)
	}
	return notYet()
}

// Interface guards
var _ liveReports = (*App)(nil)
