package correlate

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// minFocus is how many samples the window in question must have.
const minFocus = 8

// Range is a window in time, both ends included.
type Range struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Change is how the distribution of one signal differs between two windows.
type Change struct {
	Name string `json:"name"`
	// Effect is Cliff's delta: the chance that a sample of the focus is above one
	// of the baseline, less the chance that it is below: −1 to 1.
	Effect float64 `json:"effect"`
	// Distance is Kolmogorov and Smirnov's, 0 to 1. Where it is large and Effect is
	// not, the spread changed rather than the level.
	Distance float64 `json:"distance"`
	Baseline float64 `json:"baseline_median"`
	Focus    float64 `json:"focus_median"`
	Evidence
}

// Compare tells what changed between two windows of a frame, which must not
// overlap: every signal, the surest change first, q-values over all of them.
// Seasons that the baseline shows three times are taken out of both. Two tests
// are made, Mann and Whitney's for the level and Kolmogorov and Smirnov's for all
// else; p is the smaller, doubled. Both count effective samples: in a minute of a
// slowly moving signal there may be two.
func Compare(ctx context.Context, f *window.Frame, baseline, focus Range, level float64) ([]Change, error) {
	if !(level > 0 && level < 1) {
		level = DefaultLevel
	}
	if !baseline.To.Before(focus.From) && !focus.To.Before(baseline.From) {
		return nil, fmt.Errorf("%w: the windows %v to %v and %v to %v overlap", ErrOptions,
			baseline.From, baseline.To, focus.From, focus.To)
	}
	a, b := f.Slice(baseline.From, baseline.To), f.Slice(focus.From, focus.To)
	out := make([]Change, len(f.Signals))
	var all []*Evidence
	var d *deseasoner
	if a.Grid.N >= MinSamples {
		d = newDeseasoner(a.Grid.N, a.Offset)
	}
	apart := float64(f.Grid.Lag(b.Grid.Start.Sub(a.Grid.Start)))
	for i := range f.Signals {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		out[i] = changeOf(d, a, b, i, apart)
		all = append(all, &out[i].Evidence)
	}
	judgeTogether(all, level)
	slices.SortStableFunc(out, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.P, b.P), cmp.Compare(math.Abs(b.Effect), math.Abs(a.Effect)))
	})
	return out, nil
}

func changeOf(d *deseasoner, a, b *window.Frame, i int, apart float64) Change {
	before, after := usable(a.Signals[i].Values), usable(b.Signals[i].Values)
	c := Change{Name: a.Signals[i].Name, Evidence: Evidence{
		Method: "Mann–Whitney and Kolmogorov–Smirnov tests", Verdict: NotEnoughData, P: 1, Q: 1,
		Window: spanOf(b.Grid), MissingPct: max(window.MissingPct(before), window.MissingPct(after)), Caveats: []string{},
	}}
	x, y := seen(before), seen(after)
	c.N = len(y)
	if d == nil || len(x) < MinSamples || len(y) < minFocus {
		c.Caveats = append(c.Caveats, fmt.Sprintf("%d samples before and %d in question; it takes %d and %d", len(x), len(y), MinSamples, minFocus))
		return c
	}
	slices.Sort(x)
	slices.Sort(y)
	c.Baseline, c.Focus = middle(x), middle(y)
	if x[0] == x[len(x)-1] && y[0] == y[len(y)-1] && x[0] == y[0] {
		c.Caveats = append(c.Caveats, unfitConstant)
		return c
	}
	before, after, periods := withoutSeason(d, before, after, apart)
	for _, period := range periods {
		c.Caveats = append(c.Caveats, fmt.Sprintf("a season of %.4g s was taken out", period*a.Grid.Step.Seconds()))
	}
	x, y = seen(before), seen(after)
	slices.Sort(x)
	slices.Sort(y)
	memory, long := memoryOf(join(before, middle(x), after, middle(y)))
	if long {
		c.Caveats = append(c.Caveats, "the signal wanders: its memory is as long as the windows")
	}
	nx, ny := float64(len(x))/memory, float64(len(y))/memory
	c.NEff = max(ny, 1)
	var u float64
	c.Effect, u = mannWhitney(x, y, memory)
	c.Distance = stat.KolmogorovSmirnov(x, nil, y, nil)
	c.P = min(2*min(u, kolmogorovTail(c.Distance, nx*ny/(nx+ny))), 1)
	c.Verdict = NotSignificant
	return c
}

// withoutSeason takes out of both windows, apart cells from start to start, the
// lines that the first shows at least three times.
func withoutSeason(d *deseasoner, before, after []float64, apart float64) (x, y, periods []float64) {
	residual := slices.Clone(before)
	if _, ok := scaleToUnit(residual); !ok || modalShare(before) > discreteShare {
		return before, after, nil
	}
	winsorise(residual)
	_, found := d.remove(residual)
	lines := slices.DeleteFunc(slices.Clone(found.lines), func(f float64) bool { return f*float64(d.n) < 3 })
	if len(lines) == 0 {
		return before, after, nil
	}
	_, fitted := d.fit(before, lines)
	copy(fitted.beta[:trendTerms], make([]float64, trendTerms)) // the season alone
	x, y = slices.Clone(before), slices.Clone(after)
	for t := range x {
		x[t] -= fitted.at(float64(t))
	}
	for t := range y {
		y[t] -= fitted.at(apart + float64(t))
	}
	for _, p := range found.periods {
		if 3*p <= float64(d.n) {
			periods = append(periods, p)
		}
	}
	return x, y, periods
}

// join puts two windows, each less its middle, one after the other.
func join(x []float64, mx float64, y []float64, my float64) []float64 {
	out := make([]float64, 0, len(x)+len(y))
	for _, v := range x {
		out = append(out, v-mx)
	}
	for _, v := range y {
		out = append(out, v-my)
	}
	return out
}

// mannWhitney returns Cliff's delta of y over x, both sorted, and the two-sided
// p-value of the rank-sum test (normal approximation, with ties), its variance
// multiplied by memory.
func mannWhitney(x, y []float64, memory float64) (delta, p float64) {
	nx, ny := float64(len(x)), float64(len(y))
	var u, ties float64
	for i, j := 0, 0; i < len(x) || j < len(y); {
		v := math.Inf(1)
		if i < len(x) {
			v = x[i]
		}
		if j < len(y) {
			v = min(v, y[j])
		}
		i0, j0 := i, j
		for i < len(x) && x[i] == v {
			i++
		}
		for j < len(y) && y[j] == v {
			j++
		}
		a, b := float64(i-i0), float64(j-j0)
		// Each of y's b ties stands above x's i0 and level with a.
		u += b * (float64(i0) + a/2)
		ties += (a + b) * ((a+b)*(a+b) - 1)
	}
	n := nx + ny
	variance := nx * ny / 12 * (n + 1 - ties/(n*(n-1))) * memory
	if variance <= 0 {
		return 0, 1
	}
	z := max(math.Abs(u-nx*ny/2)-.5, 0) / math.Sqrt(variance)
	return 2*u/(nx*ny) - 1, min(2*distuv.UnitNormal.Survival(z), 1)
}

// kolmogorovTail is the chance of a Kolmogorov–Smirnov distance as large as d for
// n effective pairs (Stephens 1970).
func kolmogorovTail(d, n float64) float64 {
	root := math.Sqrt(n)
	l := (root + .12 + .11/root) * d
	if l < .2 {
		return 1 // the series below converges too slowly, and says so
	}
	sum, sign := 0.0, 1.0
	for k := 1.0; k <= 100; k++ {
		term := math.Exp(-2 * k * k * l * l)
		sum += sign * term
		if term < 1e-17 {
			break
		}
		sign = -sign
	}
	return min(max(2*sum, 0), 1)
}
