package correlate

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

func TestTrendSlopeAndInterval(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const repeats, n, slope = 100, 500, .01
	covered, found := 0, 0
	for k := range repeats {
		x := autoregressive(.6)(rng, n)
		for i := range x {
			x[i] += slope * float64(i)
		}
		x[k], x[n-1-k] = 1e6, -1e6 // two wild samples must not matter
		punch(rng, x, .2)
		trends, err := Trends(context.Background(), plainFrame(x), 0)
		if err != nil {
			t.Fatal(err)
		}
		tr := trends[0]
		if tr.Low <= slope && slope <= tr.High {
			covered++
		}
		if tr.Verdict == Significant && tr.SlopePerSecond > 0 && tr.Tau > 0 {
			found++
		}
		if math.Abs(tr.Change-tr.SlopePerSecond*(n-1)) > 1e-9 || tr.NEff > float64(tr.N) {
			t.Fatalf("%+v", tr)
		}
	}
	if covered < 88 || found < 99 {
		t.Errorf("interval covers %d and %d found, of %d", covered, found, repeats)
	}
}

func TestTrendIsNotSeenInMemory(t *testing.T) {
	for _, p := range coreProcesses[:4] {
		rng := rand.New(rand.NewPCG(3, 4))
		repeats := repetitions(300, 3000)
		wrong := 0
		for range repeats {
			trends, err := Trends(context.Background(), plainFrame(p.noise(rng, 600)), 0)
			if err != nil {
				t.Fatal(err)
			}
			if trends[0].P <= .05 {
				wrong++
			}
		}
		t.Logf("%s: %.1f %%", p.name, 100*float64(wrong)/float64(repeats))
		if float64(wrong) > most(repeats, .065) {
			t.Errorf("%s: %d of %d have a trend at 5 %%", p.name, wrong, repeats)
		}
	}
}

func TestTrendWithoutEnoughData(t *testing.T) {
	short, flat := make([]float64, 100), make([]float64, 100)
	for i := range short {
		short[i] = math.NaN()
		if i < MinSamples-1 {
			short[i] = float64(i)
		}
	}
	trends, err := Trends(context.Background(), plainFrame(short, flat), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range trends {
		if tr.Verdict != NotEnoughData || len(tr.Caveats) != 1 || tr.Q != 1 {
			t.Errorf("%+v", tr)
		}
	}
}

// windows splits a frame of n cells into a baseline and the last focus cells.
func windows(f *window.Frame, focus int) (Range, Range) {
	g := f.Grid
	return Range{g.Start, g.Time(g.N - focus - 1)}, Range{g.Time(g.N - focus), g.End()}
}

func TestCompareRanksWhatChanged(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	const n, focus = 500, 60
	columns := make([][]float64, 20)
	for i := range columns {
		columns[i] = coreProcesses[i%3].draw(rng, regularly(n))
		punch(rng, columns[i], .1)
	}
	for i := n - focus; i < n; i++ {
		columns[3][i] += 2   // white: the level
		columns[6][i] *= 4   // white: the spread
		columns[4][i] += 3.5 // AR .7
	}
	f := plainFrame(columns...)
	a, b := windows(f, focus)
	changes, err := Compare(context.Background(), f, a, b, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]Change{}
	for _, c := range changes {
		if c.Verdict == Significant {
			found[c.Name] = c
		}
	}
	for _, name := range []string{"s3", "s6", "s4"} {
		if _, ok := found[name]; !ok {
			t.Errorf("%s is not among the changes", name)
		}
	}
	if len(found) > 4 {
		t.Errorf("%d changes of 3", len(found))
	}
	if c := found["s3"]; c.Effect < .6 || c.Focus-c.Baseline < 1.5 || c.Name != changes[0].Name {
		t.Errorf("the level: %+v, first is %s", c, changes[0].Name)
	}
	if c := found["s6"]; math.Abs(c.Effect) > .4 || c.Distance < .2 {
		t.Errorf("the spread: %+v", c)
	}
}

func TestCompareFalsePositives(t *testing.T) {
	for _, p := range coreProcesses {
		rng := rand.New(rand.NewPCG(7, 8))
		const repeats = 300
		wrong := 0
		for range repeats {
			f := plainFrame(p.draw(rng, regularly(600)))
			a, b := windows(f, 100)
			changes, err := Compare(context.Background(), f, a, b, 0)
			if err != nil {
				t.Fatal(err)
			}
			if changes[0].P <= .05 {
				wrong++
			}
		}
		t.Logf("%s: %.1f %%", p.name, 100*float64(wrong)/float64(repeats))
		if float64(wrong) > most(repeats, .065) {
			t.Errorf("%s: %d of %d changed at 5 %%", p.name, wrong, repeats)
		}
	}
}

func TestCompareKnowsTheSeason(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	season := process{"", white, sine(4, 100)}
	f := plainFrame(season.draw(rng, regularly(540)))
	// The focus holds the season's upper half only.
	a, b := Range{f.Grid.Start, f.Grid.Time(499)}, Range{f.Grid.Time(500), f.Grid.Time(539)}
	changes, err := Compare(context.Background(), f, a, b, 0)
	if err != nil {
		t.Fatal(err)
	}
	if c := changes[0]; c.P < .01 || len(c.Caveats) == 0 {
		t.Errorf("the season counts as a change: %+v", c)
	}
}

func TestCompareLimits(t *testing.T) {
	f := plainFrame(make([]float64, 100), white(rand.New(rand.NewPCG(1, 1)), 100))
	at := func(i int) time.Time { return f.Grid.Time(i) }
	if _, err := Compare(context.Background(), f, Range{at(0), at(50)}, Range{at(50), at(90)}, 0); err == nil {
		t.Error("overlapping windows")
	}
	for _, focus := range []Range{{at(95), at(99)}, {at(200), at(300)}} {
		changes, err := Compare(context.Background(), f, Range{at(0), at(90)}, focus, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			if c.Verdict != NotEnoughData || c.P != 1 {
				t.Errorf("%+v", c)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Compare(ctx, f, Range{at(0), at(50)}, Range{at(51), at(90)}, 0); err == nil {
		t.Error("a cancelled context")
	}
}

func TestKolmogorovTail(t *testing.T) {
	// Smirnov's table: the 5 % and 1 % points of √n·D for large n.
	for l, want := range map[float64]float64{1.3581: .05, 1.6276: .01} {
		if p := kolmogorovTail(l/1e4, 1e8); math.Abs(p-want) > 2e-4 {
			t.Errorf("%v: %v, want %v", l, p, want)
		}
	}
	if kolmogorovTail(0, 10) != 1 || kolmogorovTail(1, 1000) > 1e-100 {
		t.Error("the ends")
	}
}
