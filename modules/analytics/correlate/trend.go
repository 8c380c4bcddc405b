package correlate

import (
	"context"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// trendPoints bounds the points whose pairwise slopes are sorted; longer series are
// averaged down to as many blocks.
const trendPoints = 150

// Trend is the robust slope of one signal over the window.
type Trend struct {
	Name string `json:"name"`
	// SlopePerSecond is the median of all pairwise slopes (Theil 1950, Sen 1968),
	// Low and High its 95 % interval, in units of the signal a second.
	SlopePerSecond float64 `json:"slope_per_second"`
	Low            float64 `json:"slope_low"`
	High           float64 `json:"slope_high"`
	// Change is what the slope makes over the window, in units of the signal.
	Change float64 `json:"change"`
	// Tau is Kendall's correlation with time: −1 falls always, 1 rises always.
	Tau float64 `json:"tau"`
	Evidence
}

// Trends fits a line to each signal. The interval and the Mann–Kendall p-value
// count effective samples (Hamed and Rao 1998, by the autoregression of what the
// line leaves): a random walk goes somewhere, too, and that is no trend. q-values
// are over all signals. About 1 ms a signal.
func Trends(ctx context.Context, f *window.Frame, level float64) ([]Trend, error) {
	if !(level > 0 && level < 1) {
		level = DefaultLevel
	}
	out := make([]Trend, len(f.Signals))
	var all []*Evidence
	for i, s := range f.Signals {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		out[i] = trendOf(f.Grid, s)
		all = append(all, &out[i].Evidence)
	}
	judgeTogether(all, level)
	return out, nil
}

func trendOf(g window.Grid, s window.Signal) Trend {
	t := Trend{Name: s.Name, Evidence: Evidence{
		Method: "Theil–Sen slope, Mann–Kendall test", Verdict: NotEnoughData, P: 1, Q: 1,
		Window: spanOf(g), MissingPct: window.MissingPct(s.Values), Caveats: []string{},
	}}
	at, v := blocks(usable(s.Values), trendPoints)
	seen, varies := observe(s.Values)
	t.N = seen
	switch {
	case seen < MinSamples:
		t.Caveats = append(t.Caveats, unfitShort)
		return t
	case !varies:
		t.Caveats = append(t.Caveats, unfitConstant)
		return t
	}
	slopes, score := pairwise(at, v)
	slices.Sort(slopes)
	step := g.Step.Seconds()
	slope := middle(slopes)

	rest := make([]float64, len(v))
	for i := range v {
		rest[i] = v[i] - slope*at[i]
	}
	memory, long := memoryOf(rest)
	n := float64(len(v))
	t.NEff = max(float64(seen)/memory, 1)
	if long {
		t.Caveats = append(t.Caveats, "memory as long as the window: what looks like a trend may be wandering")
	}
	// Mann–Kendall's variance, times what memory adds.
	sd := math.Sqrt(n * (n - 1) * (2*n + 5) / 18 * memory)
	z := max(math.Abs(score)-1, 0) / sd
	t.P = 2 * distuv.UnitNormal.Survival(z)
	t.Tau = score / (n * (n - 1) / 2)
	reach := 1.96 * sd
	pairs := float64(len(slopes))
	lo := slopes[int(max(math.Floor((pairs-reach)/2), 0))]
	hi := slopes[int(min(math.Ceil((pairs+reach)/2), pairs-1))]
	t.SlopePerSecond, t.Low, t.High = slope/step, lo/step, hi/step
	t.Change = slope * float64(max(g.N-1, 1))
	t.Verdict = NotSignificant
	return t
}

// blocks averages values over at most limit blocks of cells and returns the mean
// cell and value of each that has any.
func blocks(values []float64, limit int) (at, v []float64) {
	size := max((len(values)+limit-1)/limit, 1)
	for lo := 0; lo < len(values); lo += size {
		var n, sum, where float64
		for i := lo; i < min(lo+size, len(values)); i++ {
			if x := values[i]; x == x {
				n, sum, where = n+1, sum+x, where+float64(i)
			}
		}
		if n > 0 {
			at, v = append(at, where/n), append(v, sum/n)
		}
	}
	return at, v
}

// pairwise returns the slopes between all pairs of points and how many more rise
// than fall.
func pairwise(at, v []float64) (slopes []float64, score float64) {
	slopes = make([]float64, 0, len(v)*(len(v)-1)/2)
	for j := range v {
		for i := range j {
			d := v[j] - v[i]
			slopes = append(slopes, d/(at[j]-at[i]))
			switch {
			case d > 0:
				score++
			case d < 0:
				score--
			}
		}
	}
	return slopes, score
}

// middle is the median of a sorted slice.
func middle(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
