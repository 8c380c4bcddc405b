package correlate

import (
	"math"
	"math/cmplx"
	"slices"
)

// strongestLine returns the frequency, in cycles a cell, of the strongest line
// in residual, and whether it stands out.
func (d *deseasoner) strongestLine(residual []float64) (float64, bool) {
	lo := int(math.Ceil(minCycles * float64(d.size) / float64(d.n)))
	if lo+8 > len(d.power)-1 {
		return 0, false
	}
	d.spectrum(residual)
	level := d.noiseLevel()
	best, at := 0.0, 0
	for i := lo; i < len(d.power); i++ {
		if r := d.power[i] / level[i]; r > best {
			best, at = r, i
		}
	}
	// Ordinates over their mean are exponential; the mean is known to about 15 %.
	threshold := -1.15 * math.Log(lineLevel/float64(len(d.power)-lo))
	if best < threshold {
		return 0, false
	}
	return d.tune(residual, float64(at)/float64(d.size)), true
}

// spectrum computes the periodogram of residual behind an AR(1) whitening filter.
func (d *deseasoner) spectrum(residual []float64) {
	for i := range d.in {
		d.in[i] = 0
		if i < d.n && residual[i] == residual[i] {
			d.in[i] = residual[i]
		}
	}
	d.fft.Coefficients(d.coeff, d.in)
	phi := lagOne(residual)
	for i, c := range d.coeff {
		w := 1 - cmplx.Rect(phi, -2*math.Pi*float64(i)/float64(d.size))
		d.power[i] = (real(c)*real(c) + imag(c)*imag(c)) * (real(w)*real(w) + imag(w)*imag(w))
	}
	d.power[0] = 0
}

// lagOne is the autocorrelation of x, zero-mean, at lag 1, in [0, 1]: one less half
// the mean squared step over the variance, which gaps do not bias.
func lagOne(x []float64) float64 {
	var sq, n, step, pairs float64
	for t, v := range x {
		if v != v {
			continue
		}
		sq, n = sq+v*v, n+1
		if t > 0 {
			if d := v - x[t-1]; d == d {
				step, pairs = step+d*d, pairs+1
			}
		}
	}
	if sq == 0 || pairs == 0 {
		return 0
	}
	return min(max(1-step/(2*pairs)/(sq/n), 0), 1)
}

// noiseLevel estimates the mean power around each frequency from medians over
// blocks, which lines do not move, interpolated in the logarithm.
func (d *deseasoner) noiseLevel() []float64 {
	const width = 20
	p := d.power[1:]
	blocks := max(1, len(p)/width)
	logs := make([]float64, blocks)
	buf := make([]float64, 0, 2*width)
	for b := range blocks {
		buf = append(buf[:0], p[b*len(p)/blocks:(b+1)*len(p)/blocks]...)
		slices.Sort(buf)
		logs[b] = math.Log(buf[len(buf)/2]/math.Ln2 + math.SmallestNonzeroFloat64)
	}
	level := make([]float64, len(d.power))
	for i := range level {
		at := min(max((float64(i)-.5)*float64(blocks)/float64(len(p))-.5, 0), float64(blocks-1))
		b := int(at)
		l := logs[b]
		if b+1 < blocks {
			l += (at - float64(b)) * (logs[b+1] - l)
		}
		level[i] = math.Exp(l)
	}
	return level
}

// tune moves f to the maximum of the power of residual within one FFT bin.
func (d *deseasoner) tune(residual []float64, f float64) float64 {
	return d.climb(f, func(f float64) float64 { return d.powerAt(residual, f) })
}

// climb maximises gain over the frequencies within one FFT bin of f by golden
// section.
func (d *deseasoner) climb(f float64, gain func(float64) float64) float64 {
	const golden = 0.6180339887498949
	a, b := max(f-1/float64(d.n), .3/float64(d.n)), min(f+1/float64(d.n), .5)
	x1, x2 := b-golden*(b-a), a+golden*(b-a)
	p1, p2 := gain(x1), gain(x2)
	for range 16 {
		if p1 > p2 {
			b, x2, p2 = x2, x1, p1
			x1 = b - golden*(b-a)
			p1 = gain(x1)
		} else {
			a, x1, p1 = x1, x2, p2
			x2 = a + golden*(b-a)
			p2 = gain(x2)
		}
	}
	return (a + b) / 2
}

// sumSquares is Σx² over what is not NaN.
func sumSquares(x []float64) float64 {
	s := 0.0
	for _, v := range x {
		if v == v {
			s += v * v
		}
	}
	return s
}

func (d *deseasoner) powerAt(residual []float64, f float64) float64 {
	var s, c float64
	d.eachPhase(f, func(i int, sin, cos float64) {
		if v := residual[i]; v == v {
			s += v * sin
			c += v * cos
		}
	})
	return s*s + c*c
}

// eachPhase calls fn with the sine and cosine of frequency f at each cell.
func (d *deseasoner) eachPhase(f float64, fn func(i int, sin, cos float64)) {
	if !d.even {
		for i, t := range d.at {
			sin, cos := math.Sincos(2 * math.Pi * f * t)
			fn(i, sin, cos)
		}
		return
	}
	ws, wc := math.Sincos(2 * math.Pi * f)
	s, c := 0.0, 1.0
	for i := range d.at {
		fn(i, s, c)
		s, c = s*wc+c*ws, c*wc-s*ws
	}
}

// nearestLine returns the index of a line within tol of f, or -1.
func nearestLine(lines []float64, f, tol float64) int {
	for i, l := range lines {
		if math.Abs(l-f) < tol {
			return i
		}
	}
	return -1
}
