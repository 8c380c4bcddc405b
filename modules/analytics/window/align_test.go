package window

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestEstimateStepUnderJitterAndGaps(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, step := range []float64{.25, 1, 13.7, 15, 60, 3610} {
		for _, missing := range []float64{0, .2, .5} {
			var times []float64
			for i := range 900 {
				if rng.Float64() >= missing {
					times = append(times, 1.7e9+step*(float64(i)+.6*(rng.Float64()-.5)))
				}
			}
			if got := EstimateStep(times); math.Abs(got-step) > step*2e-4 {
				t.Errorf("step %g with %g missing: %g", step, missing, got)
			}
		}
	}
	if got := EstimateStep([]float64{5, 5, 5}); got != 0 {
		t.Errorf("one instant has no step: %g", got)
	}
}

func TestAlignGivesEachJitteredRowItsOwnCell(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var times, rows []float64
	for i := range 500 {
		if i%7 == 3 {
			continue
		}
		// A phase that plain rounding to whole seconds would split.
		times = append(times, 1.7e9+.5+float64(i)+.8*(rng.Float64()-.5))
		rows = append(rows, float64(i))
	}
	p, err := Align(times, EstimateStep(times))
	if err != nil {
		t.Fatal(err)
	}
	got := p.Values(rows)
	if len(got) != 500 {
		t.Fatalf("%d cells", len(got))
	}
	for i, v := range got {
		if i%7 == 3 != math.IsNaN(v) || i%7 != 3 && v != float64(i) {
			t.Fatalf("cell %d holds %v", i, v)
		}
		if math.Abs(p.Offset[i]) > .5 {
			t.Fatalf("cell %d is off by %v cells", i, p.Offset[i])
		}
	}
}

func TestAlignRefusesWhatCannotBeAGrid(t *testing.T) {
	for name, c := range map[string]struct {
		times []float64
		step  float64
	}{
		"none": {nil, 1}, "zero step": {[]float64{1, 2}, 0}, "NaN step": {[]float64{1}, math.NaN()},
		"too long": {[]float64{0, 8e9}, 1}, "not a date": {[]float64{1e300}, 1}, "tiny": {[]float64{1, 1}, 1e-12},
	} {
		if _, err := Align(c.times, c.step); !errors.Is(err, ErrGrid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGridIndexAndBounds(t *testing.T) {
	g, err := NewGrid(t0, t0.Add(time.Minute), 15*time.Second)
	if err != nil || g.N != 5 || !g.End().Equal(t0.Add(time.Minute)) {
		t.Fatalf("%+v %v", g, err)
	}
	for off, want := range map[time.Duration]int{0: 0, 7 * time.Second: 0, 8 * time.Second: 1, -7 * time.Second: 0, 60 * time.Second: 4} {
		if i, ok := g.Index(t0.Add(off)); !ok || i != want {
			t.Errorf("%v: cell %d %v, want %d", off, i, ok, want)
		}
	}
	for _, off := range []time.Duration{-8 * time.Second, 68 * time.Second, math.MinInt64, math.MaxInt64} {
		if _, ok := g.Index(t0.Add(off)); ok {
			t.Errorf("%v is on the grid", off)
		}
	}
	if g.Lag(-31*time.Second) != -2 {
		t.Errorf("lag %d", g.Lag(-31*time.Second))
	}
	if _, err := NewGrid(t0, t0.AddDate(250, 0, 0), time.Nanosecond); !errors.Is(err, ErrGrid) {
		t.Errorf("centuries of nanoseconds: %v", err)
	}
	if _, err := NewGrid(t0, t0.Add(-1), time.Second); !errors.Is(err, ErrGrid) {
		t.Errorf("backwards: %v", err)
	}
}

func TestFrameSliceIsInclusive(t *testing.T) {
	f := &Frame{Grid: Grid{Start: t0, Step: time.Second, N: 6}, Signals: []Signal{{Name: "a", Values: []float64{0, 1, 2, 3, 4, 5}}}}
	sec := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	for _, c := range []struct {
		from, to int
		want     []float64
	}{
		{2000, 4000, []float64{2, 3, 4}}, {1001, 4999, []float64{2, 3, 4}}, {-9000, 90000, []float64{0, 1, 2, 3, 4, 5}},
		{7000, 9000, []float64{}}, {-9000, -1, []float64{}}, {4000, 2000, []float64{}}, {0, 0, []float64{0}},
	} {
		s := f.Slice(sec(c.from), sec(c.to))
		wantValues(t, s.Signals[0].Values, c.want)
		if len(c.want) > 0 && !s.Grid.Start.Equal(t0.Add(time.Duration(c.want[0])*time.Second)) {
			t.Errorf("%v starts at %v", c, s.Grid.Start)
		}
	}
}

func TestMaskOverlap(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{1, 63, 64, 65, 200} {
		a, b := make([]float64, n), make([]float64, n)
		for i := range a {
			a[i], b[i] = float64(i), float64(i)
			if rng.IntN(3) == 0 {
				a[i] = gap
			}
			if rng.IntN(3) == 0 {
				b[i] = gap
			}
		}
		ma, mb := MaskOf(a), MaskOf(b)
		for lag := -n - 70; lag <= n+70; lag++ {
			want := 0
			for i := range a {
				if j := i + lag; j >= 0 && j < n && a[i] == a[i] && b[j] == b[j] {
					want++
				}
			}
			if got := ma.Overlap(mb, lag); got != want {
				t.Fatalf("n %d lag %d: %d, want %d", n, lag, got, want)
			}
		}
		ma.Clear(0)
		if ma.Get(0) || ma.Get(-1) || ma.Get(1<<20) || ma.Count() > n {
			t.Error("mask reads past its cells")
		}
	}
}

func TestRatesUseTheTimeThatPassed(t *testing.T) {
	times := []float64{0, 1.2, 2, 3, 9, 10, 10}
	got := Rates(make([]float64, 7), times, []float64{10, 22, 30, gap, 100, 5, 6}, 3)
	wantValues(t, got, []float64{gap, 10, 10, gap, gap, 5, gap})
}

func TestLooksLikeCounter(t *testing.T) {
	up := make([]float64, 100)
	for i := range up {
		up[i] = float64(i * i % 1700)
	}
	noisy := []float64{1, 2, 3, 2.5, 4, 5, 6, 7, 8, 9, 10}
	for name, c := range map[string]struct {
		v    []float64
		want bool
	}{
		"growing with resets": {[]float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7}, true},
		"falls a little":      {noisy, false}, "negative": {[]float64{-1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, false},
		"flat": {make([]float64, 50), false}, "short": {[]float64{1, 2, 3}, false}, "sawtooth": {up, false},
	} {
		if got := LooksLikeCounter("x", c.v); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	rare := []float64{0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2}
	if LooksLikeCounter("level", rare) || !LooksLikeCounter(`errors_total{code="500"}`, rare) {
		t.Error("a counter of rare events is known by its name only")
	}
}

func FuzzAlign(f *testing.F) {
	f.Add(1.7e9, 1.0, 3.5, 15.0)
	f.Add(-1e300, 1e300, 0.0, 1e-9)
	f.Fuzz(func(t *testing.T, a, d1, d2, step float64) {
		if !(d1 >= 0) || !(d2 >= 0) || math.IsNaN(a) {
			t.Skip("rows come in order, at times that are numbers")
		}
		times := []float64{a, a + d1, a + d1 + d2}
		EstimateStep(times)
		p, err := Align(times, step)
		if err == nil {
			p.Values([]float64{1, 2, 3})
		}
	})
}
