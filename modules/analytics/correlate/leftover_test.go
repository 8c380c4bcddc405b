package correlate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// busyDay is a day with two humps of period steps, as traffic has it.
func busyDay(t, period float64) float64 {
	u := 2 * math.Pi * t / period
	return math.Exp(1.2*math.Sin(u)) + .8*math.Exp(1.5*math.Cos(2*u-1))
}

// longSeasons are shapes that no few lines describe: seen once, of two rhythms,
// changing, or of counts, which are noisier where there are more.
var longSeasons = []struct {
	process
	n int
}{
	{process{"one day", autoregressive(.8), func(t float64) float64 { return 5 * busyDay(t, 1440) }}, 1440},
	{process{"two weeks", autoregressive(.7), func(t float64) float64 {
		size := 4.0
		if math.Mod(t/144, 7) >= 5 {
			size = 1.6
		}
		return size * busyDay(t, 144)
	}}, 2016},
	{process{"drifting period", autoregressive(.5), func(t float64) float64 { return 4 * math.Sin(2*math.Pi*t/60+2*t*t/1.44e6) }}, 1200},
	{process{"counts by day", func(rng *rand.Rand, n int) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = poisson(2*busyDay(float64(i), 1440))(rng, 1)[0]
		}
		return x
	}, nil}, 2880},
}

func TestFalsePositivesOfLongSeasons(t *testing.T) {
	pairs := repetitions(120, 1000)
	for _, p := range longSeasons {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			fp := falsePositives(t, p.process, samplings[0], pairs, p.n)
			t.Logf("%.1f %% of %d", 100*fp, pairs)
			// Two weeks of such days stay at about 7 %: a bound of 8 holds what there is.
			if fp*float64(pairs) > most(pairs, .08) {
				t.Errorf("%.1f %% of independent pairs are significant at 5 %%", 100*fp)
			}
		})
	}
}

// TestFalsePositivesOfRepeatedValues reads files that have each measurement
// several times, as an export at a shorter step than the collection has.
func TestFalsePositivesOfRepeatedValues(t *testing.T) {
	pairs, n := repetitions(200, 2000), 900
	for _, every := range []int{3, 5, 20} {
		rng := rand.New(rand.NewPCG(23, uint64(every)))
		wrong := 0
		for range pairs {
			x, y := white(rng, n), autoregressive(.8)(rng, n)
			for i := range n {
				if i%every != 0 {
					x[i], y[i] = x[i-1], y[i-1]
				}
			}
			f := mustRead(t, writeCSV(unixTimes(regularly(n), 10), []string{"x", "y"}, x, y))
			for p := range lagged(t, f, Options{Workers: 1}).All() {
				if p.P <= .05 {
					wrong++
				}
			}
		}
		t.Logf("every %d: %.1f %% of %d", every, 100*float64(wrong)/float64(pairs), pairs)
		if float64(wrong) > most(pairs, .06) {
			t.Errorf("every %d: %d of %d independent pairs are significant at 5 %%", every, wrong, pairs)
		}
	}
}

// TestRepeatedValuesAreOneEach looks at a file in which one column is measured at
// every row and others at every sixth: lags stay what they are, and counters keep
// their rates.
func TestRepeatedValuesAreOneEach(t *testing.T) {
	rng := rand.New(rand.NewPCG(29, 30))
	const n, lag = 1800, 12
	x, y := follower(rng, process{"", autoregressive(.9), nil}, regularly(n), lag)
	total, sum := make([]float64, n), 0.0
	for i := range total {
		if sum += 60 + 5*x[i]; i%6 == 0 {
			total[i] = sum
		} else {
			total[i], y[i] = total[i-1], y[i-1]
		}
	}
	text := writeCSV(unixTimes(regularly(n), 10), []string{"x", "y", "x_total"}, x, y, total)
	f, notes, err := ReadCSV(strings.NewReader(text), CSVOptions{})
	if err != nil || !strings.Contains(fmt.Sprint(notes), "2 of 3 columns repeat") || !strings.Contains(fmt.Sprint(notes), "1 of 3 columns are counters") {
		t.Fatalf("%q %v", notes, err)
	}
	seen := 0
	for _, v := range f.Signals[2].Values {
		if v == v {
			seen++
		}
	}
	if seen < n/6-2 || seen > n/6 {
		t.Errorf("%d rates of %d readings of a counter", seen, n/6)
	}
	for p := range lagged(t, f, Options{}).All() {
		if p.X == "x" && p.Y == "y" && (p.Verdict != Significant || math.Abs(p.LagSeconds-10*lag) > 10) {
			t.Errorf("%+v", p)
		}
	}
}

// TestLagsUpToHalfTheWindow are searched where that is asked for.
func TestLagsUpToHalfTheWindow(t *testing.T) {
	const n, lag = 160, 60
	rng := rand.New(rand.NewPCG(37, 38))
	x, y := follower(rng, coreProcesses[0], regularly(n), lag)
	for p := range lagged(t, plainFrame(x, y), Options{MaxLag: lag}).All() {
		if p.Verdict != Significant || math.Abs(p.LagSeconds-lag) > 1 {
			t.Errorf("%+v", p)
		}
	}
	wrong, pairs := 0, repetitions(400, 4000)
	for range pairs {
		for p := range lagged(t, plainFrame(white(rng, 100), autoregressive(.7)(rng, 100)), Options{MaxLag: 50}).All() {
			if p.P <= .05 {
				wrong++
			}
		}
	}
	t.Logf("%.1f %% of %d", 100*float64(wrong)/float64(pairs), pairs)
	if float64(wrong) > most(pairs, .06) {
		t.Errorf("%d of %d independent pairs are significant at 5 %%", wrong, pairs)
	}
}
