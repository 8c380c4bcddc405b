package window

import "math"

const (
	// maxRefresh is the longest refresh, in samples, that is looked for.
	maxRefresh = 120
	// minRefreshes is how many changes must have been seen before they say how
	// often a value is refreshed.
	minRefreshes = 16
	// refreshRegular is how regular changes must be: the length of the mean of the
	// unit vectors that their phases give, 1 where all come at the same phase.
	refreshRegular = .85
)

// RefreshOf finds out whether values (NaN is a gap) are only copies most of the
// time: of a series sampled more often than its source measures, such as one
// scraped every minute and exported every ten seconds, each value is repeated until
// the next. It returns how many samples one value stands for, or 1. A series that
// merely stands still now and then changes at irregular times, and is none.
func RefreshOf(values []float64) int {
	var changes []int
	last, seen := math.NaN(), 0
	for i, v := range values {
		if v != v {
			continue
		}
		if seen++; v != last && last == last {
			changes = append(changes, i)
		}
		last = v
	}
	if len(changes) < minRefreshes || 5*len(changes) > 3*seen {
		return 1
	}
	// Those that are regular at six are at two and three as well: the longest counts.
	for k := min(maxRefresh, 2*seen/len(changes)); k > 1; k-- {
		var s, c float64
		for _, at := range changes {
			sin, cos := math.Sincos(2 * math.Pi * float64(at) / float64(k))
			s, c = s+sin, c+cos
		}
		if math.Hypot(s, c) < refreshRegular*float64(len(changes)) {
			continue
		}
		// A switch thrown at full minutes now and then says nothing of how often it
		// is read.
		if 3*len(changes)*k < seen {
			return 1
		}
		return k
	}
	return 1
}

// DropCopies makes gaps of the samples in values that only repeat one that stands
// for every samples: what was measured remains, an unchanged one too.
func DropCopies(values []float64, every int) {
	last, kept := math.NaN(), -every
	for i, v := range values {
		switch {
		case v != v:
		case v != last || i-kept >= every:
			last, kept = v, i
		default:
			values[i] = math.NaN()
		}
	}
}
