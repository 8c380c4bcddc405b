package correlate

import (
	"math"
	"slices"
)

// online continues the whitening of one series sample by sample: the same steps,
// with what was fitted to the window.
type online struct {
	steps  steps
	filter arFilter
	// The scores z as a function of innovations u, at knots evenly spaced over the
	// ranks of the window. Few enough that 1,000 series' fit into a core's cache.
	u, z [knots]float32
}

const knots = 64

// onlineBytes is about what one takes: the knots and the steps.
const onlineBytes = 2*4*knots + 512

// continueFrom prepares the continuation of w after its window.
func continueFrom(w *whitened, values []float64) *online {
	o := &online{steps: w.steps, filter: newARFilter(w.steps.model)}
	for t, v := range values {
		o.filter.step(o.rest(v, float64(t)))
	}
	order := make([]int, 0, w.n)
	for i, v := range w.u {
		if v == v {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case w.u[a] < w.u[b]:
			return -1
		case w.u[a] > w.u[b]:
			return 1
		}
		return 0
	})
	for k := range knots {
		i := order[k*(len(order)-1)/(knots-1)]
		o.u[k], o.z[k] = float32(w.u[i]), w.z[i]
	}
	return o
}

// rest takes v, seen at instant t in cells since the window's start, through the
// steps before the autoregression.
func (o *online) rest(v, t float64) float64 {
	if !(math.Abs(v) <= tooLarge) {
		return math.NaN()
	}
	v = o.steps.clip.apply(o.steps.raw.apply(v)) - o.steps.season.at(t)
	return o.steps.rest.apply(o.steps.calm.apply(v))
}

// next returns the score of v, or NaN for a gap. O(p).
func (o *online) next(v, t float64) float32 {
	u := float32(o.filter.step(o.rest(v, t)) / o.steps.local)
	switch {
	case u != u:
		return u
	// Beyond the window's extremes: those are as far as it lets one say.
	case u <= o.u[0]:
		return o.z[0]
	case u >= o.u[knots-1]:
		return o.z[knots-1]
	}
	lo, hi := 0, knots-1 // u[lo] < u < u[hi]
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; o.u[mid] < u {
			lo = mid
		} else {
			hi = mid
		}
	}
	return o.z[lo] + (u-o.u[lo])/(o.u[hi]-o.u[lo])*(o.z[hi]-o.z[lo])
}
