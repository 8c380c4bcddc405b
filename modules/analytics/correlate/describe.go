package correlate

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat"
)

// pair tells a record in full.
func (a *Analysis) pair(rec record) Pair {
	x, y := a.series[rec.x], a.series[rec.y]
	p := Pair{X: x.name, Y: y.name}
	p.Evidence = Evidence{
		Method: a.method(), Verdict: NotEnoughData, P: 1, Q: 1,
		Window: spanOf(a.grid), MissingPct: max(x.missing, y.missing), Caveats: append([]string{}, a.caveats...),
	}
	if x.unfit != "" || y.unfit != "" {
		for _, w := range []*whitened{x, y} {
			if w.unfit != "" {
				p.Caveats = append(p.Caveats, w.name+": "+w.unfit)
			}
		}
		return p
	}
	if rec.n == 0 {
		p.Caveats = append(p.Caveats, fmt.Sprintf("the two share fewer than %d samples", MinSamples))
		return p
	}
	p.LagSeconds = float64(rec.lag) * a.grid.Step.Seconds()
	p.R, p.Rho = a.coefficients(rec)
	p.P, p.Q, p.N, p.NEff = rec.p, rec.q, rec.n, rec.nEff
	p.judge(a.opts.Level)
	p.Caveats = append(p.Caveats, a.doubts(rec, p)...)
	return p
}

func (a *Analysis) method() string {
	s := "prewhitened cross-correlation of " + a.opts.Method.String()
	if a.opts.Control != "" {
		s += ", given " + a.opts.Control
	}
	return s
}

// coefficients returns Pearson's and Spearman's correlation of the innovations at
// the peak, through the filter that showed it.
func (a *Analysis) coefficients(rec record) (r, rho float64) {
	x, y := a.series[rec.x], a.series[rec.y]
	u, v := x.u, y.u
	switch rec.filter {
	case byY:
		u = filtered(u, template(nil, y.steps.model.phi, x.steps.model.phi))
	case byX:
		v = filtered(v, template(nil, x.steps.model.phi, y.steps.model.phi))
	}
	var s, t []float64
	for i := range u {
		if j := i + rec.lag; j >= 0 && j < len(v) && u[i] == u[i] && v[j] == v[j] {
			s, t = append(s, u[i]), append(t, v[j])
		}
	}
	r = stat.Correlation(s, t, nil)
	midranks(s, append([]float64(nil), s...))
	midranks(t, append([]float64(nil), t...))
	rho = stat.Correlation(s, t, nil)
	if math.IsNaN(r) || math.IsNaN(rho) {
		return 0, 0 // one of them stands still over the overlap
	}
	return r, rho
}

// filtered is u through the impulse response g, gaps counting as 0 and staying
// gaps.
func filtered(u, g []float64) []float64 {
	out := make([]float64, len(u))
	for t := range u {
		if u[t] != u[t] {
			out[t] = u[t]
			continue
		}
		for j, w := range g[:min(len(g), t+1)] {
			if v := u[t-j]; v == v {
				out[t] += w * v
			}
		}
	}
	return out
}

// doubts lists what a reader should know before believing a pair.
func (a *Analysis) doubts(rec record, p Pair) []string {
	var out []string
	x, y := a.series[rec.x], a.series[rec.y]
	if m := a.opts.MaxLag; m > 0 && (rec.lag == m || rec.lag == -m) {
		out = append(out, "the lag is the largest one searched; the true one may lie beyond")
	}
	if math.Signbit(p.R) != math.Signbit(p.Rho) || math.Abs(p.R-p.Rho) > .2 {
		out = append(out, "r and rho differ: a few large values, or a bent relation")
	}
	if rec.nEff < .7*float64(rec.n) {
		out = append(out, "season or memory left in both: fewer independent samples than n")
	}
	if p.MissingPct > 30 {
		out = append(out, "much is missing")
	}
	for _, w := range []*whitened{x, y} {
		if w.discrete {
			out = append(out, w.name+" mostly has one value")
		}
		for _, period := range w.steps.season.periods {
			if 3*period > float64(a.grid.N) {
				out = append(out, fmt.Sprintf("%s: the window shows fewer than three cycles of a season of %.4g s",
					w.name, period*a.grid.Step.Seconds()))
			}
		}
	}
	return out
}
