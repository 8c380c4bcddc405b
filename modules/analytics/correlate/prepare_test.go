package correlate

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

func TestSelectionRule(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	f := plainFrame(white(rng, 100), make([]float64, 100), white(rng, 100), white(rng, 100), white(rng, 100))
	f.Signals[2].Values[5] = math.NaN()
	for i := range 90 {
		f.Signals[4].Values[i] = math.NaN()
	}
	a, err := Prepare(context.Background(), f, Options{MaxSeries: 3, Target: "s4"})
	if err != nil {
		t.Fatal(err)
	}
	// The target is pinned though it has the most gaps; s1 stands still.
	if got := a.Names(); !slices.Equal(got, []string{"s0", "s3", "s4"}) {
		t.Errorf("chosen %v", got)
	}
	reasons := map[string]string{}
	for _, l := range a.LeftOut() {
		reasons[l.Name] = l.Reason
	}
	if len(reasons) != 3 || reasons["s1"] != overLimit || reasons["s2"] != overLimit || reasons["s4"] != unfitShort {
		t.Errorf("left out %v", reasons)
	}
	r, err := a.Lagged(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for p := range r.All() {
		if p.Verdict != NotEnoughData || p.Y != "s4" || !slices.ContainsFunc(p.Caveats, func(c string) bool { return strings.Contains(c, "2 series were left out") }) {
			t.Errorf("%+v", p)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	f := plainFrame(white(rand.New(rand.NewPCG(1, 1)), 100), white(rand.New(rand.NewPCG(2, 2)), 100))
	for name, o := range map[string]Options{
		"lag": {MaxLag: -2}, "large lag": {MaxLag: 1 << 40}, "series": {MaxSeries: 1}, "many series": {MaxSeries: 1 << 40},
		"level": {Level: 1.5}, "NaN level": {Level: math.NaN()}, "method": {Method: 9}, "points": {MaxPoints: 99},
		"target": {Target: "none"}, "control": {Control: "none"}, "both": {Target: "s0", Control: "s0"},
	} {
		if _, err := Prepare(context.Background(), f, o); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a, err := Prepare(context.Background(), f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]string{{"s0", "none"}, {"none", "s0"}, {"s0", "s0"}} {
		if _, err := a.Pair(pair[0], pair[1]); !errors.Is(err, ErrOptions) {
			t.Errorf("%v: %v", pair, err)
		}
	}
	if p, err := a.Pair("s1", "s0"); err != nil || p.X != "s1" || p.Q != p.P {
		t.Errorf("%+v %v", p, err)
	}
	for _, m := range []Method{NormalScores, Pearson, Spearman} {
		if got, err := ParseMethod(m.String()); err != nil || got != m {
			t.Errorf("%v %v", got, err)
		}
	}
	if _, err := ParseMethod("kendall"); err == nil {
		t.Error("kendall")
	}
}

func TestNothingToCorrelate(t *testing.T) {
	for name, f := range map[string]*window.Frame{
		"no signals": {Grid: window.Grid{N: 100, Step: 1}}, "no cells": plainFrame([]float64{}, []float64{}), "one": plainFrame([]float64{1}),
	} {
		a, err := Prepare(context.Background(), f, Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r, err := a.Lagged(context.Background())
		if err != nil || r.Discoveries() != 0 || r.Tests() != 0 {
			t.Errorf("%s: %v", name, err)
		}
		m, err := a.Matrix(context.Background())
		if err != nil || len(m.Order()) != len(f.Signals) {
			t.Errorf("%s: %v", name, err)
		}
		if l, err := NewLive(a, f); err == nil {
			l.Tick(nil)
			l.Order()
		}
	}
}

func TestCancellationStopsWork(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	f := plainFrame(mixedColumns(rng, 30, 300)...)
	a, err := Prepare(context.Background(), f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	because := errors.New("because")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(because)
	if _, err := Prepare(ctx, f, Options{}); !errors.Is(err, because) {
		t.Errorf("%v", err)
	}
	if _, err := a.Lagged(ctx); !errors.Is(err, because) {
		t.Errorf("%v", err)
	}
	if _, err := a.Matrix(ctx); !errors.Is(err, because) {
		t.Errorf("%v", err)
	}
}

func TestProgressReachesTheEnd(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var done, total int
	o := Options{Workers: 4, Progress: func(d, n int) {
		if d != done%n+1 {
			t.Errorf("%d after %d", d, done)
		}
		done, total = d, n
	}}
	lagged(t, plainFrame(mixedColumns(rng, 12, 200)...), o)
	if done != total || total != 12 {
		t.Errorf("%d of %d", done, total)
	}
}

// TestControlTakesTheConfounderOut has traffic drive two signals that have nothing
// else in common, and one that has.
func TestControlTakesTheConfounderOut(t *testing.T) {
	const repeats, n = 60, 600
	rng := rand.New(rand.NewPCG(3, 4))
	confused, wrong, right := 0, 0, 0
	for range repeats {
		traffic := autoregressive(.8)(rng, n+20)
		a, b, c := autoregressive(.5)(rng, n), autoregressive(.5)(rng, n), autoregressive(.5)(rng, n)
		for i := range n {
			a[i] += 1.5 * traffic[20+i]
			b[i] += 1.5 * traffic[20+i-4]
		}
		for i := 3; i < n; i++ {
			c[i] += a[i-3]
		}
		f := plainFrame(traffic[20:], a, b, c)
		for _, control := range []string{"", "s0"} {
			for p := range lagged(t, f, Options{Control: control, Workers: 1}).Significant() {
				switch {
				case p.X == "s1" && p.Y == "s2" && control == "":
					confused++
				case p.X == "s1" && p.Y == "s2":
					wrong++
				case p.X == "s1" && p.Y == "s3" && control != "" && p.LagSeconds >= 2 && p.LagSeconds <= 4:
					right++
				}
			}
		}
	}
	if confused < repeats*9/10 || wrong > repeats/10 || right < repeats*9/10 {
		t.Errorf("related through traffic %d times, still so without it %d times, truly related %d times, of %d", confused, wrong, right, repeats)
	}
}

func TestControlThatCannotBeUsedIsSaid(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	f := plainFrame(make([]float64, 200), white(rng, 200), white(rng, 200))
	r := lagged(t, f, Options{Control: "s0"})
	if s := r.Summary(); len(s.Notes) != 1 || !strings.Contains(s.Notes[0], unfitConstant) || s.Tests != 1 {
		t.Errorf("%+v", s)
	}
}

func TestSeasonsAreFound(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	spikes := func(t float64) float64 {
		if int(t)%60 == 0 {
			return 8
		}
		return 0
	}
	for _, c := range []struct { // in this order: the draws follow one another
		p    process
		want float64
	}{
		{process{"sine", white, sine(2, 37.3)}, 37.3}, {process{"sawtooth", autoregressive(.5), sawtooth(3, 24)}, 24},
		{process{"one spike a minute", white, spikes}, 60},
	} {
		for _, missing := range []float64{0, .2} {
			x := c.p.draw(rng, regularly(900))
			punch(rng, x, missing)
			w := whiten(window.Signal{Values: x}, newDeseasoner(900, nil), NormalScores)
			found := slices.ContainsFunc(w.steps.season.periods, func(p float64) bool { return math.Abs(p-c.want) < .2 })
			if !found {
				t.Errorf("%s, %g missing: periods %v", c.p.name, missing, w.steps.season.periods)
			}
		}
	}
	for _, p := range coreProcesses[:4] {
		w := whiten(window.Signal{Values: p.draw(rng, regularly(900))}, newDeseasoner(900, nil), NormalScores)
		if len(w.steps.season.periods) > 0 {
			t.Errorf("%s has seasons of %v", p.name, w.steps.season.periods)
		}
	}
}
