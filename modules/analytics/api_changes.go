package analytics

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/correlate"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

const (
	// mostTrendSeries bounds the series of which trends and changes are found.
	mostTrendSeries = 1000
	defaultFocus    = 5 * time.Minute
	defaultBaseline = time.Hour
)

var levelParam = param{"level", "The false discovery rate below which a finding is significant; default 0.05."}

// changeResources are how series move and have moved.
func changeResources() []*resource {
	return []*resource{
		{
			path: "analytics/trends", serve: serveTrends, answer: trendsAnswer{},
			about: "The robust slope of each series over a window, with its interval; the surest first.",
			params: slices.Concat(spanParams, []param{
				levelParam, {"limit", "At most so many; default 50."}, {"all", "Also those that are not significant."},
			}),
		},
		{
			path: "analytics/compare", serve: serveCompare, answer: compareAnswer{},
			about: "What changed between two windows; the surest first. Without parameters: the last five minutes against the hour before them.",
			params: []param{
				{"from", "Start of the window in question; without it five minutes before its end."},
				{"to", "End of the window in question; without it now."},
				{"baseline_from", "Start of the window to compare with; without it an hour before its end."},
				{"baseline_to", "End of the window to compare with; without it just before the window in question."},
				spanParams[2], spanParams[3], levelParam,
				{"limit", "At most so many; default 50."}, {"all", "Also those that are not significant."},
			},
		},
	}
}

// trendsAnswer has the trends of a window.
type trendsAnswer struct {
	Window      correlate.Span `json:"window"`
	Series      int            `json:"series"`      // that were looked at
	Significant int            `json:"significant"` // that have a trend
	LeftOut     int            `json:"left_out"`    // that were not looked at, because there are too many
	Trends      []trend        `json:"trends"`
}

// trend is what is known of a series.
type trend struct {
	correlate.Trend
	Unit string    `json:"unit,omitempty"`
	Good Direction `json:"good,omitempty"`
}

// compareAnswer has what changed between two windows.
type compareAnswer struct {
	Baseline    correlate.Range `json:"baseline"`
	Focus       correlate.Range `json:"focus"`
	Series      int             `json:"series"`      // that were looked at
	Significant int             `json:"significant"` // that have changed
	LeftOut     int             `json:"left_out"`    // that were not looked at, because there are too many
	Changes     []change        `json:"changes"`
}

// change is what is known of a series.
type change struct {
	correlate.Change
	Unit string    `json:"unit,omitempty"`
	Good Direction `json:"good,omitempty"`
}

// shown are the parameters of how much is shown.
func (c *call) shown() (level float64, limit int, all bool, err error) {
	level = correlate.DefaultLevel
	if s := c.get("level"); s != "" {
		if level, err = strconv.ParseFloat(s, 64); err != nil || !(level > 0 && level < 1) {
			return level, 0, false, apiErrorf(http.StatusBadRequest, "level is %.40q: it must be between 0 and 1, such as 0.05", s)
		}
	}
	if limit, err = c.number("limit", defaultPairs, 1, mostPairs); err != nil {
		return level, limit, false, err
	}
	all, err = c.flag("all")
	return level, limit, all, err
}

func serveTrends(c *call) error {
	e, err := runningEngine()
	if err != nil {
		return err
	}
	from, to, step, err := c.span(e)
	if err != nil {
		return err
	}
	level, limit, all, err := c.shown()
	if err != nil {
		return err
	}
	return c.analysis(e, from, to, step, func(ctx context.Context, f *window.Frame, infos []SeriesInfo) error {
		f, left := firstSeries(f)
		found, err := correlate.Trends(ctx, f, level)
		if err != nil {
			return asked(err)
		}
		a := trendsAnswer{Window: correlate.Span{From: f.Grid.Start, To: f.Grid.End(), StepSeconds: f.Grid.Step.Seconds()}, Series: len(found), LeftOut: left, Trends: []trend{}}
		for i, t := range found {
			if t.Verdict == correlate.Significant {
				a.Significant++
			} else if !all {
				continue
			}
			a.Trends = append(a.Trends, trend{t, infos[i].Unit, infos[i].Good})
		}
		slices.SortStableFunc(a.Trends, func(x, y trend) int {
			return cmp.Or(cmp.Compare(x.P, y.P), cmp.Compare(math.Abs(y.Tau), math.Abs(x.Tau)))
		})
		a.Trends = a.Trends[:min(len(a.Trends), limit)]
		return c.writeJSON(a)
	})
}

func serveCompare(c *call) error {
	e, err := runningEngine()
	if err != nil {
		return err
	}
	var focus, baseline correlate.Range
	if focus.To, err = c.time("to", time.Now()); err != nil {
		return err
	}
	if focus.From, err = c.time("from", focus.To.Add(-defaultFocus)); err != nil {
		return err
	}
	if baseline.To, err = c.time("baseline_to", focus.From.Add(-time.Millisecond)); err != nil {
		return err
	}
	if baseline.From, err = c.time("baseline_from", baseline.To.Add(-defaultBaseline)); err != nil {
		return err
	}
	if !focus.From.Before(focus.To) || !baseline.From.Before(baseline.To) {
		return apiErrorf(http.StatusBadRequest, "a window ends before it begins")
	}
	from, to := focus.From, focus.To
	if baseline.From.Before(from) {
		from = baseline.From
	}
	if baseline.To.After(to) {
		to = baseline.To
	}
	step, err := c.step(e, from, to)
	if err != nil {
		return err
	}
	level, limit, all, err := c.shown()
	if err != nil {
		return err
	}
	return c.analysis(e, from, to, step, func(ctx context.Context, f *window.Frame, infos []SeriesInfo) error {
		f, left := firstSeries(f)
		found, err := correlate.Compare(ctx, f, baseline, focus, level)
		if err != nil {
			return asked(err)
		}
		known := make(map[string]SeriesInfo, len(infos))
		for _, i := range infos {
			known[i.Name] = i
		}
		a := compareAnswer{Baseline: baseline, Focus: focus, Series: len(found), LeftOut: left, Changes: []change{}}
		for _, x := range found {
			if x.Verdict == correlate.Significant {
				a.Significant++
			} else if !all {
				continue
			}
			if len(a.Changes) < limit {
				a.Changes = append(a.Changes, change{x, known[x.Name].Unit, known[x.Name].Good})
			}
		}
		return c.writeJSON(a)
	})
}

// firstSeries cuts a frame to as many series as are looked at.
func firstSeries(f *window.Frame) (*window.Frame, int) {
	left := len(f.Signals) - mostTrendSeries
	if left <= 0 {
		return f, 0
	}
	return &window.Frame{Grid: f.Grid, Offset: f.Offset, Signals: f.Signals[:mostTrendSeries]}, left
}
