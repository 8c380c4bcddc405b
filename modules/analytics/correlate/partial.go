package correlate

import (
	"context"
	"fmt"
	"math"
)

// The lags, around the one at which the control correlates best, over which its
// influence is taken out: what it did to a series is spread over some lags by
// whitening.
const (
	controlBefore = 3
	controlAfter  = 12
)

// control replaces every other series' innovations by what is left of them after
// a regression on the control's, from controlBefore lags before the best to
// controlAfter after it (the lag is searched over the same range as pairs are).
func (a *Analysis) control(ctx context.Context) error {
	c := a.series[a.byName[a.opts.Control]]
	if c.unfit != "" {
		a.caveats = append(a.caveats, fmt.Sprintf("the control %q could not be taken out: %s", c.name, c.unfit))
		return nil
	}
	return a.parallel(ctx, len(a.series), func() func(int) {
		cc := newCrossCorrelator(a.grid.N, a.opts.MaxLag)
		return func(i int) {
			if w := a.series[i]; w != c && w.unfit == "" {
				w.without(c, cc.test(c, w).lag, a.opts.Method)
			}
		}
	})
}

// without takes the influence of control c, strongest at lag, out of w.
func (w *whitened) without(c *whitened, lag int, m Method) {
	cols := make([][]float64, 0, controlBefore+controlAfter+1)
	for k := lag - controlBefore; k <= lag+controlAfter; k++ {
		col := make([]float64, len(w.u))
		for t := max(k, 0); t < min(len(col), len(col)+k); t++ {
			col[t] = float64(c.z[t-k])
		}
		cols = append(cols, col)
	}
	w.u, _ = leastSquares(w.u, cols)
	w.controls = len(cols)
	if w.discrete && m == NormalScores {
		m = Pearson
	}
	z, ok := transform(w.u, m)
	if !ok || math.IsNaN(z[0]) {
		w.unfit = "nothing is left without the control"
		return
	}
	w.finish(z)
}
