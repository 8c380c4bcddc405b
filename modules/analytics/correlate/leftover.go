package correlate

import (
	"math"
	"slices"
)

const (
	// leftoverLevel is the chance to take out a group of frequencies that carries
	// nothing but noise. That costs a few samples of many; a shape that stays in two
	// series costs a false pair.
	leftoverLevel = .02
	// slowLevel is the same for the slowest frequencies, where a random walk under
	// noise has all that it says.
	slowLevel = .004
	// leftoverPasses is how often the innovations are looked through.
	leftoverPasses = 5
)

// leftover returns frequencies at which whitened values u (NaN in gaps) still
// carry more power than noise: what is left of a season whose shape changes, is too
// bent for the lines found, or is seen once only. No single line of it need stand
// out; groups are tested whose frequencies belong together: the slowest ones, those
// beside each line of found, and the multiples of each of its periods. Whitened
// noise is flat, so the power of a group is gamma distributed. O(n log n).
func (d *deseasoner) leftover(u []float64, found season, budget int) []float64 {
	d.flatSpectrum(u)
	var out []float64
	add := func(level float64, group []float64) {
		fresh := group[:0]
		for _, f := range group {
			if f > .5/float64(d.n) && f <= .5 && nearestLine(out, f, .25/float64(d.n)) < 0 {
				fresh = append(fresh, f)
			}
		}
		sum := 0.0
		for _, f := range fresh {
			sum += d.power[min(int(math.Round(f*float64(d.size))), len(d.power)-1)]
		}
		if len(fresh) == 0 || len(found.lines)+len(out)+len(fresh) > budget ||
			gammaTail(float64(len(fresh)), sum) > level {
			return
		}
		out = append(out, fresh...)
	}
	cycles := func(from, to int, of float64) (group []float64) {
		for k := from; k <= to; k++ {
			group = append(group, float64(k)*of)
		}
		return group
	}
	one := 1 / float64(d.n)
	for _, k := range []int{8, 4, 2} {
		add(slowLevel, cycles(1, k, one))
	}
	for _, p := range found.periods {
		for h := 1; 2*h <= int(p) && h <= 16; h *= 2 {
			add(leftoverLevel, cycles(h, min(2*h-1, int(p)/2), 1/p))
		}
	}
	for _, f := range found.lines[:min(len(found.lines), 4*maxLines)] {
		add(leftoverLevel, []float64{f - one, f + one})
		add(leftoverLevel, []float64{f - 2*one, f + 2*one})
	}
	single := math.Log(float64(len(d.power))) + 1.5
	for i := 2; i < len(d.power)-1; i++ {
		if p := d.power[i]; p > single && p >= d.power[i-1] && p >= d.power[i+1] {
			add(leftoverLevel, []float64{float64(i) / float64(d.size)})
		}
	}
	return out
}

// flatSpectrum computes the periodogram of u, whose mean is 1.
func (d *deseasoner) flatSpectrum(u []float64) {
	sq := 0.0
	clear(d.in)
	for i, v := range u {
		if v == v {
			v = min(max(v, -foldClip), foldClip)
			d.in[i] = v
			sq += v * v
		}
	}
	d.fft.Coefficients(d.coeff, d.in)
	for i, c := range d.coeff {
		d.power[i] = (real(c)*real(c) + imag(c)*imag(c)) / sq
	}
	d.power[0] = 0
}

// removeLeftover returns x without its trend, the lines of before and those of
// more.
func (d *deseasoner) removeLeftover(x, more []float64, before season) ([]float64, season) {
	residual, found := d.fit(x, append(slices.Clone(before.lines), more...))
	found.periods = before.periods
	return residual, found
}
