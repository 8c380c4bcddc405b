package analytics

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/correlate"
)

// PairReport is what is known of two series. A positive lag means that y follows x.
type PairReport struct {
	correlate.Pair
	XUnit string `json:"x_unit,omitempty"`
	YUnit string `json:"y_unit,omitempty"`
	// Given is the same with the influence of traffic taken out of both, where that could
	// be done.
	Given *GivenReport `json:"given,omitempty"`
	// Text says it in a sentence.
	Text string `json:"text"`
}

// GivenReport is a pair with the influence of a third series, the control, taken out.
type GivenReport struct {
	Control    string            `json:"control"`
	LagSeconds float64           `json:"lag_seconds"`
	R          float64           `json:"r"`
	Rho        float64           `json:"rho"`
	P          float64           `json:"p"`
	Q          float64           `json:"q"`
	N          int               `json:"n"`
	NEff       float64           `json:"n_eff"`
	Verdict    correlate.Verdict `json:"verdict"`
}

func reportPair(p correlate.Pair, about map[string]SeriesInfo) PairReport {
	return PairReport{Pair: p, XUnit: about[p.X].Unit, YUnit: about[p.Y].Unit, Text: sentence(p)}
}

// sentence tells a pair in words, and no more than is known.
func sentence(p correlate.Pair) string {
	switch p.Verdict {
	case correlate.NotEnoughData:
		return fmt.Sprintf("%s and %s: not enough data", p.X, p.Y)
	case correlate.NotSignificant:
		return fmt.Sprintf("%s and %s: no association beyond chance", p.X, p.Y)
	}
	way := "the same way"
	if p.R < 0 {
		way = "the opposite way"
	}
	size := "weakly"
	switch r := math.Abs(p.R); {
	case r >= .7:
		size = "strongly"
	case r >= .4:
		size = "clearly"
	}
	first, second, when := p.X, p.Y, "at the same time"
	if p.LagSeconds != 0 {
		when = strconv.FormatFloat(math.Abs(p.LagSeconds), 'g', 4, 64) + " s later"
	}
	if p.LagSeconds < 0 {
		first, second = second, first
	}
	return fmt.Sprintf("%s is %s associated with %s, which moves %s %s (r %.2f)", first, size, second, way, when, p.R)
}

// leftOut is what was not analysed: how much, and the first few with reasons.
type leftOut struct {
	Count  int                 `json:"left_out"`
	Series []correlate.LeftOut `json:"left_out_series"`
}

func reportLeftOut(all []correlate.LeftOut) leftOut {
	return leftOut{len(all), append([]correlate.LeftOut{}, all[:min(len(all), maxReportLeft)]...)}
}

// MatrixReport has the correlations of all pairs of series at lag 0, and the pairs among
// them that are significant: a graph whose nodes are Series.
type MatrixReport struct {
	At     time.Time      `json:"at"`
	Window correlate.Span `json:"window"`
	Method string         `json:"method"`
	Level  float64        `json:"level"`
	// Series stand in the order of a hierarchical clustering, in which what moves together
	// stands together.
	Series []SeriesInfo `json:"series"`
	// R is a row for each series; null where the two share too few samples.
	R           []Coefficients `json:"r,omitempty"`
	Tests       int            `json:"tests"`
	Significant int            `json:"significant"`
	Pairs       []PairReport   `json:"pairs"` // surest first, at most 500
	MissingPct  float64        `json:"missing_pct"`
	leftOut
	// FittedAt is when the models of season and memory were last fitted.
	FittedAt time.Time `json:"fitted_at,omitzero"`
	Caveats  []string  `json:"caveats"`
}

// LaggedReport has what the balancer and the network have to do with one another: each
// pair's x is of the network and its y of the balancer.
type LaggedReport struct {
	At          time.Time      `json:"at"`
	TookSeconds float64        `json:"took_seconds"`
	Window      correlate.Span `json:"window"`
	MaxLag      float64        `json:"max_lag_seconds"`
	Level       float64        `json:"level"`
	Network     int            `json:"network_series"`
	Balancer    int            `json:"balancer_series"`
	Tests       int            `json:"tests"`
	Significant int            `json:"significant"`
	Pairs       []PairReport   `json:"pairs"`
	leftOut
	Caveats []string `json:"caveats"`
}

// Coefficients are correlations, NaN where there is none. JSON has three decimals, and
// null.
type Coefficients []float32

// MarshalJSON implements json.Marshaler.
func (c Coefficients) MarshalJSON() ([]byte, error) {
	b := append(make([]byte, 0, 7*len(c)+2), '[')
	for i, v := range c {
		if i > 0 {
			b = append(b, ',')
		}
		if v != v {
			b = append(b, "null"...)
			continue
		}
		b = strconv.AppendFloat(b, math.Round(1000*float64(v))/1000, 'g', -1, 32)
	}
	return append(b, ']'), nil
}
