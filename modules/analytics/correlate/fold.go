package correlate

import (
	"math"
	"slices"
)

// maxFold bounds the periods, in cells, that folding looks for.
const maxFold = 400

// foldLevel is how many standard deviations must separate a folded season from
// chance; with some hundred periods tried and heavy tails.
const foldLevel = 5.5

// foldClip bounds what one cell may say in folding.
const foldClip = 3

// foldedPeriod looks for a season that has little power at any one frequency,
// such as one spike a minute, in whitened values u (NaN in gaps). Cells of one
// phase are compared with each other: for period P the statistic is
//
//	Σ over phases of (Σu)² − Σu², over the number of cells of the phase,
//
// in which only products of different cycles are left, so that a single outlier
// counts for nothing. Without a season its mean is 0 and its variance, u being of
// variance 1, near 2P. It returns the least of the periods that stand out about
// as well as the best, or 0. O(n·maxFold).
func foldedPeriod(u []float64) int {
	longest := min(len(u)/2, maxFold)
	sum, sq, count := make([]float64, longest), make([]float64, longest), make([]float64, longest)
	score := make([]float64, longest+1)
	best := 0.0
	for p := 2; p <= longest; p++ {
		clear(sum[:p])
		clear(sq[:p])
		clear(count[:p])
		phase := 0
		for _, v := range u {
			if v == v {
				v = min(max(v, -foldClip), foldClip)
				sum[phase] += v
				sq[phase] += v * v
				count[phase]++
			}
			if phase++; phase == p {
				phase = 0
			}
		}
		stat, variance := 0.0, 0.0
		for k, n := range count[:p] {
			if n > 1 {
				stat += (sum[k]*sum[k] - sq[k]) / n
				variance += 2 * (n - 1) / n
			}
		}
		if variance > 0 {
			score[p] = stat / math.Sqrt(variance)
			best = max(best, score[p])
		}
	}
	if best < foldLevel {
		return 0
	}
	// Multiples of the period fold well too.
	for p := range score {
		if score[p] >= max(foldLevel, .8*best) {
			return p
		}
	}
	return 0
}

// removeFolded returns x without its trend and every multiple of the frequency
// 1/period and what was taken out before, as far as the samples allow.
func (d *deseasoner) removeFolded(x []float64, period int, before season, samples int) ([]float64, season) {
	lines := slices.Clone(before.lines)
	budget := int(.4 * float64(samples) / 2)
	for h := 1; 2*h <= period && len(lines) < budget; h++ {
		if f := float64(h) / float64(period); nearestLine(lines, f, .5/float64(d.n)) < 0 {
			lines = append(lines, f)
		}
	}
	residual, found := d.fit(x, lines)
	found.periods = append(slices.Clone(before.periods), float64(period))
	return residual, found
}
