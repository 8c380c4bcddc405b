package correlate

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// repetitions is how often a calibration is repeated: full times with
// CALIBRATION=full in the environment, usual times otherwise, and hardly under -short
// and the race detector, for which the sizes only have to run.
func repetitions(usual, full int) int {
	switch {
	case os.Getenv("CALIBRATION") == "full":
		return full
	case testing.Short() || raceDetector:
		return max(usual/25, 2)
	}
	return usual
}

// most is the largest count out of n that is likely, at two standard errors, where
// the true share is at most share. Small numbers are skewed, and take four.
func most(n int, share float64) float64 {
	errors := 2.0
	if n < 100 {
		errors = 4
	}
	return share*float64(n) + errors*math.Sqrt(share*(1-share)*float64(n))
}

// sampling is how a process is looked at.
type sampling struct {
	name    string
	missing float64
	jitter  bool
}

var samplings = []sampling{{"complete", 0, false}, {"20 % missing", .2, false}, {"jittered", 0, true}}

func (s sampling) instants(rng *rand.Rand, n int) []float64 {
	if s.jitter {
		return jittered(rng, n)
	}
	return regularly(n)
}

// frame draws columns of a process at the same instants.
func (s sampling) frame(rng *rand.Rand, p process, n, columns int) *window.Frame {
	at := s.instants(rng, n)
	var xs [][]float64
	for range columns {
		x := p.draw(rng, at)
		punch(rng, x, s.missing)
		xs = append(xs, x)
	}
	return frameOf(at, xs...)
}

func lagged(t *testing.T, f *window.Frame, o Options) *Result {
	t.Helper()
	a, err := Prepare(context.Background(), f, o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := a.Lagged(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// falsePositives returns the share of independent pairs called significant at
// 5 %, the best of 121 lags each.
func falsePositives(t *testing.T, p process, s sampling, pairs, n int) float64 {
	rng := rand.New(rand.NewPCG(20260101, uint64(n)))
	wrong, tested := 0, 0
	for range pairs {
		r := lagged(t, s.frame(rng, p, n, 2), Options{Workers: 1})
		if r.Tests() == 0 {
			continue
		}
		tested++
		for pair := range r.All() {
			if pair.P <= .05 {
				wrong++
			}
		}
	}
	if tested < pairs*9/10 {
		t.Errorf("%s, %s: only %d of %d pairs could be tested", p.name, s.name, tested, pairs)
	}
	return float64(wrong) / float64(tested)
}

func TestFalsePositivesOfCoreProcesses(t *testing.T) {
	// The standard error of a share of 4.5 % of 1,200 is .6 %.
	pairs, n := repetitions(1200, 6000), 600
	for _, p := range coreProcesses {
		for _, s := range samplings {
			t.Run(p.name+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				fp := falsePositives(t, p, s, pairs, n)
				t.Logf("%.1f %% of %d", 100*fp, pairs)
				if pairs < 1000 {
					if fp*float64(pairs) > most(pairs, .06) {
						t.Errorf("%.1f %% of %d", 100*fp, pairs)
					}
				} else if fp < .03 || fp > .06 {
					t.Errorf("%.1f %% of independent pairs are significant at 5 %%, want 3 to 6 %%", 100*fp)
				}
			})
		}
	}
}

func TestFalsePositivesOfHardProcesses(t *testing.T) {
	pairs, n := repetitions(200, 2000), 600
	for _, p := range hardProcesses {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			fp := falsePositives(t, p, samplings[0], pairs, n)
			t.Logf("%.1f %% of %d", 100*fp, pairs)
			if fp*float64(pairs) > most(pairs, .06) {
				t.Errorf("%.1f %% of independent pairs are significant at 5 %%", 100*fp)
			}
		})
	}
}

func TestFalsePositivesOfShortSeries(t *testing.T) {
	pairs := repetitions(400, 4000)
	for _, n := range []int{40, 60, 120} {
		for _, p := range coreProcesses[:4] { // 40 steps do not show a season of 60
			fp := falsePositives(t, p, samplings[0], pairs, n)
			t.Logf("%s, n %d: %.1f %%", p.name, n, 100*fp)
			if fp*float64(pairs) > most(pairs, .06) {
				t.Errorf("%s, n %d: %.1f %% of independent pairs are significant at 5 %%", p.name, n, 100*fp)
			}
		}
	}
}

// TestFalseDiscoveries asks of many pairs at once. Where none is related, any
// discovery is false, and at most one family in twenty may have one; where some
// are, at most one discovery in twenty may be false, on average.
func TestFalseDiscoveries(t *testing.T) {
	n, families, planted := 600, repetitions(25, 200), 6
	for _, p := range coreProcesses {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			wrongFamilies, found := 0, 0
			var rate float64
			for _, s := range samplings {
				rng := rand.New(rand.NewPCG(7, 7))
				for range families {
					if lagged(t, s.frame(rng, p, n, 12), Options{Workers: 1}).Discoveries() > 0 {
						wrongFamilies++
					}
					wrong, right := discoveries(t, rng, p, s, n, planted)
					found += right
					rate += float64(wrong) / float64(max(wrong+right, 1))
				}
			}
			all := families * len(samplings)
			rate /= float64(all)
			t.Logf("none related: %d of %d families with a discovery; %d related: %.1f %% of discoveries false, %.1f %% found",
				wrongFamilies, all, planted, 100*rate, 100*float64(found)/float64(all*planted))
			if float64(wrongFamilies) > most(all, .05) {
				t.Errorf("%d of %d families of unrelated series have a discovery", wrongFamilies, all)
			}
			// The share of false discoveries of one family scatters by about .1.
			if slack := .2 / math.Sqrt(float64(all)); all < 50 && rate > .05+slack || all >= 50 && rate > .05 {
				t.Errorf("%.1f %% of discoveries are false", 100*rate)
			}
			if found < all*planted*95/100 {
				t.Errorf("only %d of %d related pairs were found", found, all*planted)
			}
		})
	}
}

// discoveries counts false and true ones among 16 series of which the first
// 2·planted are related two by two.
func discoveries(t *testing.T, rng *rand.Rand, p process, s sampling, n, planted int) (wrong, right int) {
	at := s.instants(rng, n)
	var columns [][]float64
	for range planted {
		x, y := follower(rng, p, at, 5)
		columns = append(columns, x, y)
	}
	for len(columns) < 16 {
		columns = append(columns, p.draw(rng, at))
	}
	for _, c := range columns {
		punch(rng, c, s.missing)
	}
	f := frameOf(at, columns...)
	for pair := range lagged(t, f, Options{Workers: 1}).Significant() {
		x, y := f.Index(pair.X), f.Index(pair.Y)
		if x/2 == y/2 && x < 2*planted {
			right++
		} else {
			wrong++
		}
	}
	return wrong, right
}

// follower draws x, and y which is x's noise lag steps later plus as much noise of
// the process' own. Both have the shape.
func follower(rng *rand.Rand, p process, at []float64, lag int) (x, y []float64) {
	const margin = 100
	n := len(at)
	source, own := p.noise(rng, n+2*margin), p.noise(rng, n)
	x, y = make([]float64, n), make([]float64, n)
	for i, t := range at {
		x[i], y[i] = source[margin+i], source[margin+i-lag]+own[i]
		if p.shape != nil {
			x[i] += p.shape(t)
			y[i] += p.shape(t)
		}
	}
	return x, y
}

func TestPlantedLagIsRecovered(t *testing.T) {
	repeats, n := repetitions(100, 1000), 600
	for _, p := range coreProcesses {
		for _, s := range samplings {
			t.Run(p.name+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				rng := rand.New(rand.NewPCG(11, 13))
				right := 0
				for range repeats {
					lag := rng.IntN(101) - 50
					at := s.instants(rng, n)
					x, y := follower(rng, p, at, lag)
					punch(rng, x, s.missing)
					punch(rng, y, s.missing)
					for pair := range lagged(t, frameOf(at, x, y), Options{Workers: 1}).Significant() {
						found := pair.LagSeconds / 10
						if found >= float64(lag-1) && found <= float64(lag+1) && pair.R > 0 && pair.Rho > 0 {
							right++
						}
					}
				}
				t.Logf("%d of %d", right, repeats)
				if float64(repeats-right) > most(repeats, .05) || repeats >= 100 && right < repeats*95/100 {
					t.Errorf("%d of %d planted lags were found, with the right sign and within one step", right, repeats)
				}
			})
		}
	}
}

// TestLagThroughNoiseOfAnotherColour plants memoryless noise on signals with
// memory: whitening each by itself would smear the lag.
func TestLagThroughNoiseOfAnotherColour(t *testing.T) {
	for _, p := range []process{{"AR .7", autoregressive(.7), nil}, {"AR .95", autoregressive(.95), nil}, {"AR(2)", autoregressive(1.5, -.8), nil}} {
		rng := rand.New(rand.NewPCG(17, 19))
		const repeats, n, lag = 60, 600, 9
		right := 0
		for range repeats {
			source := p.noise(rng, n+lag)
			if _, ok := scaleToUnit(source); !ok {
				t.Fatal("no signal")
			}
			x, y := source[lag:], source[:n]
			noisy := make([]float64, n)
			for i := range noisy {
				noisy[i] = y[i] + rng.NormFloat64()
			}
			for pair := range lagged(t, plainFrame(x, noisy), Options{Workers: 1}).Significant() {
				if pair.LagSeconds >= lag-1 && pair.LagSeconds <= lag+1 {
					right++
				}
			}
		}
		if right < repeats*95/100 {
			t.Errorf("%s: %d of %d", p.name, right, repeats)
		}
	}
}
