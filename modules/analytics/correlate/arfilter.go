package correlate

import (
	"math"
)

// arFilter is the Kalman filter whose state is the last p values of the series:
// known exactly where they were seen, estimated with covariance cov where not.
type arFilter struct {
	autoregression
	state   []float64 // newest first
	cov     []float64 // p × p
	c       []float64 // scratch: covariance of the prediction with the state
	unknown int       // how many steps ago the oldest estimated value in state is, at most
}

// newARFilter returns the filter before the first sample: nothing seen, the
// process in its stationary state.
func newARFilter(m autoregression) arFilter {
	p := len(m.phi)
	f := arFilter{autoregression: m, state: make([]float64, p), cov: make([]float64, p*p), c: make([]float64, p), unknown: p}
	cov := m.autocovariance()
	for i := range p {
		for j := range p {
			f.cov[i*p+j] = cov[max(i-j, j-i)]
		}
	}
	return f
}

// step predicts the next value, takes v (NaN: not seen) and returns the
// standardised innovation.
func (f *arFilter) step(v float64) float64 {
	p := len(f.phi)
	pred, variance := 0.0, f.sigma2
	for j, phi := range f.phi {
		pred += phi * f.state[j]
	}
	if f.unknown > 0 {
		for i := range p {
			s := 0.0
			for j, phi := range f.phi {
				s += f.cov[i*p+j] * phi
			}
			f.c[i] = s
		}
		for j, phi := range f.phi {
			variance += phi * f.c[j]
		}
		// Rounding, or covariances that fit no process, must not make it negative.
		variance = max(variance, f.sigma2)
	}
	out, seen := math.NaN(), v == v
	if seen {
		e := v - pred
		out = e / math.Sqrt(variance)
		if f.unknown > 0 {
			for i := range p {
				f.state[i] += f.c[i] / variance * e
				for j := range p {
					f.cov[i*p+j] -= f.c[i] * f.c[j] / variance
				}
			}
		}
	} else {
		v = pred
	}
	f.push(v, variance, seen)
	return out
}

// push shifts v in as the newest value.
func (f *arFilter) push(v, variance float64, seen bool) {
	p := len(f.phi)
	if p == 0 {
		return
	}
	copy(f.state[1:], f.state)
	f.state[0] = v
	if seen && f.unknown == 0 {
		return
	}
	for i := p - 1; i > 0; i-- {
		copy(f.cov[i*p+1:i*p+p], f.cov[(i-1)*p:(i-1)*p+p-1])
	}
	for i := range p {
		var c float64
		if !seen && f.unknown > 0 && i > 0 {
			c = f.c[i-1]
		}
		f.cov[i*p], f.cov[i] = c, c
	}
	if seen {
		f.cov[0] = 0
		f.unknown--
		return
	}
	f.cov[0] = variance
	f.unknown = p
}
