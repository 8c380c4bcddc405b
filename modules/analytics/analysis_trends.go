package analytics

import (
	"context"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/correlate"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// Course says whether a change is for the people who are served: "better", "worse", or
// empty where neither is known.
type Course string

// Courses.
const (
	Better Course = "better"
	Worse  Course = "worse"
)

// courseOf reads the sign of a change by the good direction.
func courseOf(good Direction, change float64) Course {
	switch {
	case good == Neither || change == 0:
		return ""
	case (change > 0) == (good == Up):
		return Better
	}
	return Worse
}

// TrendReport is the robust slope of one series.
type TrendReport struct {
	correlate.Trend
	Unit   string `json:"unit,omitempty"`
	Course Course `json:"course,omitempty"`
}

// TrendsReport has the trends of all series, significant ones first.
type TrendsReport struct {
	At          time.Time      `json:"at"`
	TookSeconds float64        `json:"took_seconds"`
	Window      correlate.Span `json:"window"`
	Level       float64        `json:"level"`
	Tests       int            `json:"tests"`
	Significant int            `json:"significant"`
	Trends      []TrendReport  `json:"trends"`
	leftOut
}

func (s *analyses) updateTrends(ctx context.Context, f *window.Frame, about map[string]SeriesInfo, now time.Time) error {
	r, err := trendsOf(ctx, f, about, s.opts)
	if err != nil {
		return err
	}
	r.At = now
	s.trendsNow.Store(r)
	return nil
}

// overSeriesLimit is why a series has no trend.
const overSeriesLimit = "more series than the limit"

func trendsOf(ctx context.Context, f *window.Frame, about map[string]SeriesInfo, o analysisOptions) (*TrendsReport, error) {
	began := time.Now()
	f, left := bounded(f, o.maxSeries)
	trends, err := correlate.Trends(ctx, f, o.level)
	if err != nil {
		return nil, err
	}
	r := &TrendsReport{At: began, Window: spanOf(f.Grid), Level: o.level, Trends: make([]TrendReport, 0, len(trends)), leftOut: reportLeftOut(left)}
	for _, want := range []correlate.Verdict{correlate.Significant, correlate.NotSignificant, correlate.NotEnoughData} {
		for _, t := range trends {
			if t.Verdict != want {
				continue
			}
			info := about[t.Name]
			out := TrendReport{Trend: t, Unit: info.Unit}
			switch want {
			case correlate.Significant:
				r.Significant++
				out.Course = courseOf(info.Good, t.Change)
				fallthrough
			case correlate.NotSignificant:
				r.Tests++
			}
			r.Trends = append(r.Trends, out)
		}
	}
	r.TookSeconds = time.Since(began).Seconds()
	return r, nil
}

// bounded is a frame with its first limit signals, and the rest. The windows give places
// to the pipelines in the order of the configuration.
func bounded(f *window.Frame, limit int) (*window.Frame, []correlate.LeftOut) {
	if len(f.Signals) <= limit {
		return f, nil
	}
	var left []correlate.LeftOut
	for _, s := range f.Signals[limit:] {
		left = append(left, correlate.LeftOut{Name: s.Name, Reason: overSeriesLimit})
	}
	return &window.Frame{Grid: f.Grid, Offset: f.Offset, Signals: f.Signals[:limit]}, left
}
