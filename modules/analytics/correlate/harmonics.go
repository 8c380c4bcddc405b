package correlate

import (
	"math"
	"slices"
)

// completeHarmonics finds which lines are multiples of one frequency, adds
// the multiples that are missing as far as budget lines allow, and returns
// all lines and the periods of the seasons in cells, strongest first.
func (d *deseasoner) completeHarmonics(residual, lines []float64, budget int) (all, periods []float64) {
	d.spectrum(residual)
	level := d.noiseLevel()
	all = slices.Clone(lines)
	rest := slices.Clone(lines)
	for len(rest) > 0 {
		f0, members := d.fundamental(rest)
		periods = append(periods, 1/f0)
		kept := rest[:0]
		for _, l := range rest {
			if !slices.Contains(members, l) {
				kept = append(kept, l)
			}
		}
		rest = kept
		// A season with an edge has power beyond the Nyquist frequency too, which
		// folds back to where no multiple stands.
		for h, top := 2, 1/(2*f0); len(all) < budget; top += 12 {
			missing := d.missingHarmonics(f0, h, int(top), all)
			if !d.carryPower(missing, level) {
				break
			}
			all = append(all, missing[:min(len(missing), budget-len(all))]...)
			h = int(top) + 1
		}
	}
	return all, periods
}

// fundamental returns the frequency that most of lines are multiples of, the
// highest such, always accounting for the first line, and those lines. The first
// line may be a high multiple, as with one spike a minute; beyond the eighth,
// where a line fits soon by chance, two more lines than before must say so.
func (d *deseasoner) fundamental(lines []float64) (float64, []float64) {
	best, members := lines[0], lines[:1:1]
	for h := 1; h <= 20; h++ {
		f0 := lines[0] / float64(h)
		least, more := 2.0, 1
		if h > 8 {
			least, more = 10, 2
		}
		if f0*float64(d.n) < least {
			break
		}
		var in []float64
		var num, den float64
		for _, l := range lines {
			k := math.Round(l / f0)
			if k >= 1 && math.Abs(l-k*f0) < .35/float64(d.n)*max(1, k/float64(h)) {
				in = append(in, l)
				num, den = num+k*l, den+k*k
			}
		}
		if len(in) >= len(members)+more {
			best, members = num/den, in
		}
	}
	return best, members
}

// missingHarmonics returns the multiples lo to hi of f0, folded at the Nyquist
// frequency, that are not among lines.
func (d *deseasoner) missingHarmonics(f0 float64, lo, hi int, lines []float64) []float64 {
	var out []float64
	tol := .5 / float64(d.n)
	for h := lo; h <= hi; h++ {
		f := math.Abs(float64(h)*f0 - math.Round(float64(h)*f0))
		if f > tol && nearestLine(lines, f, tol) < 0 && nearestLine(out, f, tol) < 0 {
			out = append(out, f)
		}
	}
	return out
}

// carryPower reports whether lines together carry more power than noise: their
// sum over the noise level is gamma distributed.
func (d *deseasoner) carryPower(lines, level []float64) bool {
	sum := 0.0
	for _, f := range lines {
		i := min(int(math.Round(f*float64(d.size))), len(level)-1)
		sum += d.power[i] / level[i]
	}
	return len(lines) > 0 && gammaTail(float64(len(lines)), sum) < .05
}
