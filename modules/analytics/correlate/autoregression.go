package correlate

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/floats"
)

// autoregression is a stationary model x_t = Σ phi_j x_{t−j} + e_t of a
// zero-mean series, with e of variance sigma2.
type autoregression struct {
	phi    []float64
	sigma2 float64
}

// fitAutoregression fits x, zero-mean with NaN for gaps, by Burg's method for
// every order from least to maxOrder and keeps the one of least AICc (Hurvich and
// Tsai 1989). Gaps are first bridged, then the model and the values drawn for the
// gaps given the model take turns (stochastic EM, Celeux and Diebolt 1985). Draws
// rather than expectations: a series filled with expectations looks more
// predictable than it is. The draws are the same in every run. O(n·maxOrder), and
// O(gaps·p²) for each turn.
func fitAutoregression(x []float64, least, maxOrder int) autoregression {
	filled, gaps := bridge(x)
	n := len(x) - len(gaps)
	model := burg(filled, n, least, maxOrder)
	if len(gaps) == 0 {
		return model
	}
	rng := rand.New(rand.NewPCG(0x5eed, uint64(len(x))))
	// What is unknown shrinks each turn by the share of gaps.
	turns := min(4+24*len(gaps)/len(x), 20)
	for range turns {
		if !model.draw(filled, gaps, rng) {
			break
		}
		model = burg(filled, n, least, maxOrder)
	}
	return model
}

// bridge returns x with its gaps filled by straight lines, and the gaps' cells.
func bridge(x []float64) (filled []float64, gaps []int) {
	filled = slices.Clone(x)
	last := -1
	for t, v := range x {
		if v != v {
			gaps = append(gaps, t)
			continue
		}
		for g := last + 1; g < t; g++ {
			filled[g] = v
			if last >= 0 {
				filled[g] = x[last] + (v-x[last])*float64(g-last)/float64(t-last)
			}
		}
		last = t
	}
	for g := last + 1; g < len(x) && last >= 0; g++ {
		filled[g] = x[last]
	}
	return filled, gaps
}

// burg fits by the maximum entropy method (Burg 1975): each reflection
// coefficient minimises the forward and backward prediction errors together, so
// the model is stationary whatever the data. n is how many samples count for
// the choice of the order.
func burg(x []float64, n, minOrder, maxOrder int) autoregression {
	f, b := slices.Clone(x), slices.Clone(x)
	sigma2 := floats.Dot(x, x) / float64(len(x))
	best := autoregression{sigma2: sigma2}
	least := aicc(n, 0, sigma2)
	phi, prev := make([]float64, 0, maxOrder), make([]float64, 0, maxOrder)
	for p := 1; p <= maxOrder && p < n-2; p++ {
		// ahead[i] and behind[i] are the forward error at t and the backward error at
		// t−1. Kept where it is, the backward error needs no shifting.
		ahead, behind := f[p:], b[:len(x)-p]
		den := floats.Dot(ahead, ahead) + floats.Dot(behind, behind)
		if !(den > 0) {
			break
		}
		k := 2 * floats.Dot(ahead, behind) / den
		for i, v := range behind {
			e := ahead[i]
			ahead[i], behind[i] = e-k*v, v-k*e
		}
		prev = append(prev[:0], phi...)
		for j := range phi {
			phi[j] -= k * prev[p-2-j]
		}
		phi = append(phi, k)
		sigma2 *= 1 - k*k
		if !(sigma2 > 0) {
			break
		}
		if c := aicc(n, p, sigma2); c < least || p == minOrder {
			least = c
			best = autoregression{phi: slices.Clone(phi), sigma2: sigma2}
		}
	}
	return best
}

func aicc(n, order int, sigma2 float64) float64 {
	return float64(n)*math.Log(sigma2) + 2*float64(order+1)*float64(n)/float64(n-order-2)
}

// draw puts into the gaps of x a sample of what the model says they may have
// been, given all the rest. The values are jointly Gaussian with a banded
// precision matrix Q: e_t depends on x_t … x_{t−p} only. It reports false if Q
// is not positive definite.
func (m autoregression) draw(x []float64, gaps []int, rng *rand.Rand) bool {
	p := len(m.phi)
	a := make([]float64, p+1) // e_t = Σ a_j x_{t−j}
	a[0] = 1
	for j, f := range m.phi {
		a[j+1] = -f
	}
	// q(s, t) is Q's entry for cells d = t−s ≥ 0 apart: Σ a_j a_{j+d} over the
	// errors, of the cells p … n−1, that contain both.
	n := len(x)
	q := func(s, t int) float64 {
		sum := 0.0
		for j := 0; j+t-s <= p; j++ {
			if e := t + j; e < n && (e >= p || s == t && j == 0) {
				sum += a[j] * a[j+t-s]
			}
		}
		return sum
	}
	inner := make([]float64, p+1)
	for d := range inner {
		inner[d] = q(n/2, n/2+d)
	}
	at := func(s, t int) float64 {
		if s >= p && t+p < n {
			return inner[t-s]
		}
		return q(s, t)
	}
	// Row i of the Cholesky factor reaches back to the gaps within p cells.
	chol := make([][]float64, len(gaps))
	first := make([]int, len(gaps))
	mean := make([]float64, len(gaps))
	lo := 0
	for i, t := range gaps {
		for gaps[lo] < t-p {
			lo++
		}
		first[i] = lo
		row := make([]float64, i-lo+1)
		chol[i] = row
		for k := lo; k <= i; k++ {
			s := at(gaps[k], t)
			for c := max(lo, first[k]); c < k; c++ {
				s -= row[c-lo] * chol[k][c-first[k]]
			}
			if k < i {
				row[k-lo] = s / chol[k][k-first[k]]
				continue
			}
			if !(s > 0) {
				return false
			}
			row[k-lo] = math.Sqrt(s)
		}
		rhs := 0.0
		for s := max(t-p, 0); s <= min(t+p, n-1); s++ {
			if v := x[s]; s != t && !isGap(gaps, i, s) {
				rhs -= at(min(s, t), max(s, t)) * v
			}
		}
		for c := lo; c < i; c++ {
			rhs -= row[c-lo] * mean[c]
		}
		mean[i] = rhs / row[i-lo]
	}
	sigma := math.Sqrt(m.sigma2)
	for i := range mean {
		mean[i] += sigma * rng.NormFloat64()
	}
	for i := len(gaps) - 1; i >= 0; i-- {
		row := chol[i]
		mean[i] /= row[len(row)-1]
		for c := first[i]; c < i; c++ {
			mean[c] -= row[c-first[i]] * mean[i]
		}
		x[gaps[i]] = mean[i]
	}
	return true
}

// isGap reports whether cell s, near gaps[i], is a gap.
func isGap(gaps []int, i, s int) bool {
	for ; i > 0 && gaps[i] > s; i-- {
	}
	for ; i < len(gaps)-1 && gaps[i] < s; i++ {
	}
	return gaps[i] == s
}

// autocovariance returns the model's autocovariance at lags 0 to len(phi), from
// its impulse response.
func (m autoregression) autocovariance() []float64 {
	p := len(m.phi)
	// Undo Levinson's recursion to the reflection coefficients, and run it anew.
	models := make([][]float64, p+1)
	models[p] = m.phi
	variance := make([]float64, p+1)
	variance[p] = m.sigma2
	for k := p; k > 0; k-- {
		r := models[k][k-1]
		den := 1 - r*r
		models[k-1] = make([]float64, k-1)
		for j := range models[k-1] {
			models[k-1][j] = (models[k][j] + r*models[k][k-2-j]) / den
		}
		variance[k-1] = variance[k] / den
	}
	cov := make([]float64, p+1)
	cov[0] = variance[0]
	for k := 1; k <= p; k++ {
		c := models[k][k-1] * variance[k-1]
		for j, f := range models[k-1] {
			c += f * cov[k-1-j]
		}
		cov[k] = c
	}
	return cov
}

// innovations returns the standardised one-step prediction errors of x: what
// each sample tells beyond all those before it, over its standard deviation.
// Across gaps the prediction and its variance come from the Kalman filter
// for the model, so a sample after a gap still gives exactly one innovation and
// these stay white (Jones 1980). NaN marks gaps. O(n·p), and O(n·p²) near gaps.
func (m autoregression) innovations(x []float64) []float64 {
	out := make([]float64, len(x))
	f := newARFilter(m)
	for t, v := range x {
		out[t] = f.step(v)
	}
	return out
}
