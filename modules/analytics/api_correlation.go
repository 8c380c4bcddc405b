package analytics

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/correlate"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

const (
	// mostPairSeries bounds the series of which all pairs are tested, mostTargetSeries
	// those that are tested against one.
	mostPairSeries   = 200
	mostTargetSeries = 1000
	defaultPairs     = 50
	mostPairs        = 20_000
)

// correlationResource is what goes with what.
func correlationResource() *resource {
	return &resource{
		path: "analytics/correlation", serve: serveCorrelation, answer: correlationAnswer{},
		about: "Which series move together, which comes first, and how sure that is, over any window of the store. " +
			"A positive lag means that y follows x.",
		params: slices.Concat(spanParams, []param{
			{"target", "Test this series, as y, against all others, instead of all pairs."},
			{"control", "Take the influence of this series, such as the request rate, out of all others first."},
			{"method", "`pearson` (default) or `spearman`."},
			{"max_lag", "The largest lag that is searched, as a duration; 0 for none; without it 60 steps or a quarter of the window; never more than half of it."},
			{"level", "The false discovery rate below which a pair is significant; default 0.05."},
			{"max_series", "At most so many series; default 200, with a target 1,000. The summary tells what was left out."},
			{"limit", "At most so many pairs, the surest first; default 50."},
			{"all", "Also pairs that are not significant."},
			{"matrix", "Also the correlation of all pairs at no lag, and an order that puts like beside like."},
		}),
	}
}

// correlationAnswer is what was found.
type correlationAnswer struct {
	Summary correlate.Summary `json:"summary"`
	Pairs   []correlate.Pair  `json:"pairs"`
	// What the series of the pairs are.
	Series []SeriesInfo  `json:"series"`
	Matrix *matrixAnswer `json:"matrix,omitempty"`
}

// matrixAnswer is the correlation of the innovations of all pairs at no lag.
type matrixAnswer struct {
	Names []string `json:"names"`
	// Positions of the names, so that like stands beside like.
	Order []int `json:"order"`
	// A row for each name. Null is a pair without enough data.
	R [][]*float64 `json:"r"`
}

func serveCorrelation(c *call) error {
	e, err := runningEngine()
	if err != nil {
		return err
	}
	from, to, step, err := c.span(e)
	if err != nil {
		return err
	}
	o, err := c.correlateOptions(step)
	if err != nil {
		return err
	}
	limit, err := c.number("limit", defaultPairs, 1, mostPairs)
	if err != nil {
		return err
	}
	all, err := c.flag("all")
	if err != nil {
		return err
	}
	withMatrix, err := c.flag("matrix")
	if err != nil {
		return err
	}
	return c.analysis(e, from, to, step, func(ctx context.Context, f *window.Frame, infos []SeriesInfo) error {
		a := correlationAnswer{Pairs: []correlate.Pair{}, Series: []SeriesInfo{}}
		if len(f.Signals) < 2 {
			a.Summary = correlate.Summary{
				Window: correlate.Span{From: from, To: to, StepSeconds: step.Seconds()}, Series: len(f.Signals), Level: correlate.DefaultLevel,
				LeftOut: []correlate.LeftOut{}, Notes: []string{"it takes two series; " + stateNote(e)},
			}
			return c.writeJSON(a)
		}
		if err := knowSeries(infos, "target", o.Target); err != nil {
			return err
		}
		if err := knowSeries(infos, "control", o.Control); err != nil {
			return err
		}
		prepared, err := correlate.Prepare(ctx, f, o)
		if err != nil {
			return asked(err)
		}
		result, err := prepared.Lagged(ctx)
		if err != nil {
			return asked(err)
		}
		a.Summary = result.Summary()
		pairs := result.Significant()
		if all {
			pairs = result.All()
		}
		for p := range pairs {
			if len(a.Pairs) == limit {
				break
			}
			a.Pairs = append(a.Pairs, p)
		}
		a.Series = infosOf(infos, a.Pairs)
		if withMatrix {
			if a.Matrix, err = matrixOf(ctx, prepared); err != nil {
				return err
			}
		}
		return c.writeJSON(a)
	})
}

// correlateOptions reads what is to be tested, and how.
func (c *call) correlateOptions(step time.Duration) (o correlate.Options, err error) {
	o.Target, o.Control = c.get("target"), c.get("control")
	if o.Target != "" && o.Target == o.Control {
		return o, apiErrorf(http.StatusBadRequest, "target and control are the same series")
	}
	method, err := c.choice("method", "pearson", "spearman")
	if err != nil {
		return o, err
	}
	if o.Method, err = correlate.ParseMethod(method); err != nil {
		return o, apiErrorf(http.StatusBadRequest, "%w", err)
	}
	switch c.get("max_lag") {
	case "":
	case "0":
		o.MaxLag = correlate.LagZero
	default:
		lag, err := c.duration("max_lag", 0)
		if err != nil {
			return o, err
		}
		// More than half of the window is never searched.
		o.MaxLag = int(min(max(lag/step, 1), correlate.DefaultMaxPoints/2))
	}
	if s := c.get("level"); s != "" {
		if o.Level, err = strconv.ParseFloat(s, 64); err != nil || !(o.Level > 0 && o.Level < 1) {
			return o, apiErrorf(http.StatusBadRequest, "level is %.40q: it must be between 0 and 1, such as 0.05", s)
		}
	}
	most := mostPairSeries
	if o.Target != "" {
		most = mostTargetSeries
	}
	if o.MaxSeries, err = c.number("max_series", most, 2, most); err != nil {
		return o, err
	}
	// Half of the processors stay for the traffic.
	o.Workers = max(runtime.GOMAXPROCS(0)/2, 1)
	return o, nil
}

// asked gives an error of an analysis its status.
func asked(err error) error {
	if errors.Is(err, correlate.ErrOptions) || errors.Is(err, window.ErrGrid) {
		return apiErrorf(http.StatusBadRequest, "%w", err)
	}
	return err
}

func knowSeries(infos []SeriesInfo, what, name string) error {
	known := new(nameList)
	if name == "" || slices.ContainsFunc(infos, func(i SeriesInfo) bool { return i.Name == name }) {
		return nil
	}
	for _, i := range infos {
		known.add(i.Name)
	}
	return known.know(what, name)
}

// infosOf returns what the series of the pairs are.
func infosOf(infos []SeriesInfo, pairs []correlate.Pair) []SeriesInfo {
	wanted := make(map[string]bool)
	for _, p := range pairs {
		wanted[p.X], wanted[p.Y] = true, true
	}
	return slices.DeleteFunc(append([]SeriesInfo{}, infos...), func(i SeriesInfo) bool { return !wanted[i.Name] })
}

func matrixOf(ctx context.Context, a *correlate.Analysis) (*matrixAnswer, error) {
	m, err := a.Matrix(ctx)
	if err != nil {
		return nil, err
	}
	out := &matrixAnswer{Names: m.Names, Order: m.Order(), R: make([][]*float64, len(m.Names))}
	for i := range m.Names {
		out.R[i] = make([]*float64, len(m.Names))
		for j := range m.Names {
			if r := m.At(i, j); finite(r) {
				out.R[i][j] = &r
			}
		}
	}
	return out, nil
}

// stateNote says why there may be no data.
func stateNote(e apiEngine) string {
	if state := e.StatusReport().State; state != phaseRunning {
		return "the engine is " + state
	}
	return "give it time to collect, and see /api/analytics/pipelines"
}
