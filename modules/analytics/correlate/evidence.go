package correlate

import (
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// Verdict is what can be said of a question.
type Verdict string

// Verdicts.
const (
	Significant    Verdict = "significant"
	NotSignificant Verdict = "not significant"
	NotEnoughData  Verdict = "not enough data"
)

// Span is the window an answer is about.
type Span struct {
	From        time.Time `json:"from"`
	To          time.Time `json:"to"`
	StepSeconds float64   `json:"step_seconds"`
}

func spanOf(g window.Grid) Span {
	return Span{From: g.Start, To: g.End(), StepSeconds: g.Step.Seconds()}
}

// Evidence comes with every answer. Where no test could be made the verdict is
// NotEnoughData, P and Q are 1 and the caveats say why.
type Evidence struct {
	Method  string  `json:"method"`
	Verdict Verdict `json:"verdict"`
	// P is the chance of an effect at least this strong where there is none,
	// corrected for the search within the question.
	P float64 `json:"p"`
	// Q is P adjusted for all questions asked at once: the false discovery rate.
	Q float64 `json:"q"`
	// N is how many samples were compared, NEff how many independent ones
	// tell as much.
	N          int      `json:"n"`
	NEff       float64  `json:"n_eff"`
	Window     Span     `json:"window"`
	MissingPct float64  `json:"missing_pct"`
	Caveats    []string `json:"caveats"`
}

// LeftOut is a series that was not analysed, and why.
type LeftOut struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// judge sets the verdict from q.
func (e *Evidence) judge(level float64) {
	e.Verdict = NotSignificant
	if e.Q <= level {
		e.Verdict = Significant
	}
}
