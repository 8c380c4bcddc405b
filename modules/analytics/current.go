package analytics

import (
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// Store returns the store, or nil until it is open.
func (a *App) Store() store.Store { return a.engine.openedStore() }

// QueryLimits returns what a query may cost.
func (a *App) QueryLimits() QueryLimits { return a.Query }

// SignalReport is a signal with the values that its series have now.
type SignalReport struct {
	Pipeline string    `json:"pipeline"`
	Name     string    `json:"name"`
	Help     string    `json:"help,omitempty"`
	Unit     string    `json:"unit,omitempty"`
	Good     Direction `json:"good,omitempty"`
	// Expr is the PromQL as it is evaluated.
	Expr        string        `json:"expr"`
	At          time.Time     `json:"at,omitzero"`
	TookSeconds float64       `json:"took_seconds"`
	Error       string        `json:"error,omitempty"`
	Series      []SeriesValue `json:"series"`
}

// SeriesValue is the value of a series now. A value that is no number, such as the error
// ratio without a request, is null.
type SeriesValue struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	Value  *float64          `json:"value"`
}

// CurrentSignals returns every signal with what its series are now.
func (a *App) CurrentSignals() []SignalReport {
	all := []SignalReport{}
	for _, p := range a.engine.pipelines {
		for _, s := range p.signals {
			all = append(all, s.report())
		}
	}
	return all
}

func (s *signalRun) report() SignalReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := SignalReport{
		Pipeline: s.Pipeline, Name: s.Name, Help: s.Help, Unit: s.Unit, Good: s.Good, Expr: s.expr,
		At: s.at, TookSeconds: s.took.Seconds(), Error: s.err, Series: make([]SeriesValue, 0, len(s.values)),
	}
	for _, v := range s.values {
		x := SeriesValue{Name: v.series.Name, Labels: v.series.Labels}
		if finite(v.value) {
			x.Value = &v.value
		}
		r.Series = append(r.Series, x)
	}
	return r
}
