package analytics

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/correlate"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

const (
	// defaultSpan is what analyses look at without a start.
	defaultSpan = time.Hour
	// aimedPoints is how many points a window has at most without a step.
	aimedPoints = 2000
)

// spanParams are the parameters of a window in time.
var spanParams = []param{
	{"from", "Start of the window; without it an hour before its end."},
	{"to", "End of the window; without it now."},
	{"step", "Time between two points; without it the collect interval, or a multiple of it that gives no more than 2,000 points."},
	{"series", "Only these: a series, a signal (`pipeline:signal`) or a pipeline; may be repeated."},
}

// span returns the window of a request, within the limits.
func (c *call) span(e apiEngine) (from, to time.Time, step time.Duration, err error) {
	if to, err = c.time("to", time.Now()); err != nil {
		return
	}
	if from, err = c.time("from", to.Add(-defaultSpan)); err != nil {
		return
	}
	step, err = c.step(e, from, to)
	return
}

// step returns the parameter step, checked against the window.
func (c *call) step(e apiEngine, from, to time.Time) (time.Duration, error) {
	if !from.Before(to) {
		return 0, apiErrorf(http.StatusBadRequest, "the window from %s to %s ends before it begins", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))
	}
	limits := e.QueryLimits()
	if most := time.Duration(limits.MaxRange); to.Sub(from) > most {
		return 0, apiErrorf(http.StatusUnprocessableEntity, "the window is longer than %v: take a shorter one, or raise `query max_range` in the configuration", most)
	}
	interval := max(time.Duration(e.StatusReport().Settings.CollectIntervalSeconds*float64(time.Second)), time.Millisecond)
	usual := interval * max(1, (to.Sub(from)/interval+aimedPoints-1)/aimedPoints)
	step, err := c.duration("step", usual)
	if err != nil {
		return 0, err
	}
	if step < time.Millisecond {
		return 0, apiErrorf(http.StatusBadRequest, "step is %v: it must be at least 1ms", step)
	}
	if most := min(limits.MaxPoints, correlate.DefaultMaxPoints); to.Sub(from)/step >= time.Duration(most) {
		return 0, apiErrorf(http.StatusUnprocessableEntity, "more than %d points: take a longer step or a shorter window", most)
	}
	return step, nil
}

// analysis runs f on the series of a window within the limits of queries.
func (c *call) analysis(e apiEngine, from, to time.Time, step time.Duration, f func(ctx context.Context, frame *window.Frame, infos []SeriesInfo) error) error {
	return c.limited(e, func(ctx context.Context) error {
		frame, infos, err := e.FrameFor(ctx, from, to, step, c.form["series"])
		if err != nil {
			return storeError(err)
		}
		if len(infos) == 0 && len(c.form["series"]) > 0 {
			known := new(nameList)
			for _, s := range e.CurrentSignals() {
				known.add(s.Pipeline + ":" + s.Name)
			}
			return known.know("series", c.form["series"][0])
		}
		if err := f(ctx, frame, infos); err != nil {
			return storeError(err)
		}
		return nil
	})
}
