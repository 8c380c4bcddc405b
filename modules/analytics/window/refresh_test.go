package window

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestRefreshOf(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	noise := func(n, every int, slip func() int) []float64 {
		x, v, next := make([]float64, n), 0.0, 0
		for i := range x {
			if i >= next {
				v = rng.NormFloat64()
				next = (i/every+1)*every + slip()
			}
			x[i] = v
		}
		return x
	}
	exact := func() int { return 0 }
	holes := noise(600, 6, exact)
	for i := range holes {
		if rng.IntN(5) == 0 {
			holes[i] = math.NaN()
		}
	}
	onOff, random := make([]float64, 900), make([]float64, 900)
	for i := 1; i < len(onOff); i++ {
		onOff[i], random[i] = onOff[i-1], random[i-1]
		if i%60 == 0 && i%240 != 0 {
			onOff[i] = 1 - onOff[i]
		}
		if rng.IntN(5) == 0 {
			random[i] = rng.NormFloat64()
		}
	}
	for name, c := range map[string]struct {
		values []float64
		want   int
	}{
		"every one":             {noise(300, 1, exact), 1},
		"every second":          {noise(300, 2, exact), 2},
		"every sixth":           {noise(300, 6, exact), 6},
		"every sixth or so":     {noise(600, 6, func() int { return rng.IntN(2) }), 6},
		"every sixth, gaps":     {holes, 6},
		"every sixtieth":        {noise(2000, 60, exact), 60},
		"too few to know":       {noise(300, 60, exact), 1},
		"a switch on the hour":  {onOff, 1},
		"changes at any time":   {random, 1},
		"constant":              {make([]float64, 300), 1},
		"nothing":               {nil, 1},
		"a count of rare ones":  {sparse(rng, 900), 1},
		"a square wave of five": {square(900), 5},
	} {
		if got := RefreshOf(c.values); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func sparse(rng *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		if rng.IntN(10) == 0 {
			x[i] = 1
		}
	}
	return x
}

func square(n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = float64(i / 5 % 2)
	}
	return x
}

func TestDropCopiesKeepsWhatWasMeasured(t *testing.T) {
	nan := math.NaN()
	// The third measurement is the same as the second: it stays.
	x := []float64{1, 1, 1, 2, 2, 2, 2, 2, 2, 3, nan, 3, 4}
	DropCopies(x, 3)
	wantValues(t, x, []float64{1, nan, nan, 2, nan, nan, 2, nan, nan, 3, nan, nan, 4})
}
