package correlate

import (
	"math/rand/v2"
	"testing"
)

// TestBurstsAreFound plants a fault that shows in bursts of very different sizes, such as
// lost packets, and a latency that rises in each.
func TestBurstsAreFound(t *testing.T) {
	const n, lag = 460, 3
	repeats := repetitions(60, 600)
	for name, faults := range map[string]func(*rand.Rand, int) []float64{"bursts": bursts, "ramps": ramps} {
		rng := rand.New(rand.NewPCG(23, 29))
		unfit, right := 0, 0
		for range repeats {
			fault := faults(rng, n+lag)
			latency := autoregressive(.5)(rng, n)
			for i := range latency {
				latency[i] += min(fault[i], 3)
			}
			r := lagged(t, plainFrame(fault[lag:], latency), Options{Workers: 1})
			unfit += len(r.LeftOut())
			for pair := range r.Significant() {
				if pair.LagSeconds >= lag-1 && pair.LagSeconds <= lag+1 && pair.R > 0 {
					right++
				}
			}
		}
		t.Logf("%s: %d of %d were found, %d series were left out", name, right, repeats, unfit)
		if right < repeats*95/100 {
			t.Errorf("%s: %d of %d were found", name, right, repeats)
		}
	}
}
