package correlate

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// related draws two signals of which the second follows the first by lag.
func related(rng *rand.Rand, n, lag int) (x, y []float64) {
	return follower(rng, process{"", autoregressive(.6), nil}, regularly(n), lag)
}

func TestBetweenTestsOnlyItsPairs(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 1))
	a0, b0 := related(rng, 500, 4)
	a1, a2 := related(rng, 500, 2) // related, but in one group
	f := plainFrame(a0, a1, a2, b0, white(rng, 500), make([]float64, 500))
	a, err := Prepare(context.Background(), f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := a.Between(context.Background(), []string{"s0", "s1", "s2", "none"}, []string{"s3", "s4", "s5", "s0"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Len() != 3*4-1 || r.Tests() != 3*4-1-3 || r.Discoveries() != 1 {
		t.Fatalf("%d pairs, %d tests, %d found", r.Len(), r.Tests(), r.Discoveries())
	}
	for p := range r.Significant() {
		if p.X != "s0" || p.Y != "s3" || p.LagSeconds != 4 {
			t.Errorf("%+v", p)
		}
	}
	for p := range r.All() {
		if p.X == "s3" || p.X == "s4" || p.Y == "s1" || p.X == p.Y {
			t.Errorf("%s and %s", p.X, p.Y)
		}
	}
	if r, err := a.Between(context.Background(), nil, []string{"s0"}); err != nil || r.Len() != 0 {
		t.Errorf("%v", err)
	}
}

// TestGivenIsControl compares what is taken out afterwards with what is taken out from the
// start, and leaves the analysis as it was.
func TestGivenIsControl(t *testing.T) {
	rng := rand.New(rand.NewPCG(22, 1))
	n := 500
	traffic, x, y, z := autoregressive(.7)(rng, n), white(rng, n), white(rng, n), white(rng, n)
	for i := range n {
		x[i] += traffic[i]
		y[i] += traffic[i]
	}
	f := plainFrame(traffic, x, y, z)
	f.Signals[2].Values[17] = math.NaN()
	plain, err := Prepare(context.Background(), f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	before, err := plain.Pair("s1", "s2")
	if err != nil || before.P > 1e-6 {
		t.Fatalf("%+v %v", before, err)
	}
	controlled, err := Prepare(context.Background(), f, Options{Control: "s0"})
	if err != nil {
		t.Fatal(err)
	}
	want, err := controlled.Pair("s1", "s2")
	if err != nil {
		t.Fatal(err)
	}
	given, err := plain.Given(context.Background(), "s0", "s1", "s2", "none")
	if err != nil {
		t.Fatal(err)
	}
	got, err := given.Pair("s1", "s2")
	if err != nil || got.R != want.R || got.P != want.P || got.NEff != want.NEff || got.P < .05 || !strings.Contains(got.Method, "given s0") {
		t.Errorf("%+v, want %+v (%v)", got, want, err)
	}
	if again, err := plain.Pair("s1", "s2"); err != nil || again.R != before.R || again.P != before.P {
		t.Errorf("the analysis has changed: %+v, %v", again, err)
	}
	if !slices.Equal(given.Names(), []string{"s0", "s1", "s2"}) {
		t.Errorf("%v", given.Names())
	}
	for _, err := range []error{
		func() error { _, err := plain.Given(context.Background(), "none"); return err }(),
		func() error { _, err := given.Given(context.Background(), "s1"); return err }(),
	} {
		if !errors.Is(err, ErrOptions) {
			t.Errorf("%v", err)
		}
	}
}

// TestLiveSignificanceIsTheMatrix compares, before the first tick, with the pairs that the
// matrix finds, and afterwards looks for a pair that begins to move together.
func TestLiveSignificanceIsTheMatrix(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 1))
	const n = 400
	columns := mixedColumns(rng, 12, n)
	copy(columns[3], columns[0])
	for i := range columns[3] {
		columns[3][i] += rng.NormFloat64()
	}
	punch(rng, columns[0], .1)
	f := plainFrame(append(columns, make([]float64, n))...)
	a, err := Prepare(context.Background(), f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLive(a, f)
	if err != nil {
		t.Fatal(err)
	}
	m, err := a.Matrix(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want, total := m.Significant(0)
	got, found, tests := l.Significant(100)
	if total == 0 || found != total || len(got) != total || tests != 12*11/2 {
		t.Fatalf("%d of %d, the matrix has %d", found, tests, total)
	}
	for i := range got {
		g, w := got[i], want[i]
		if g.X != w.X || g.Y != w.Y || math.Abs(g.R-w.R) > .1 || math.Abs(g.Rho-w.Rho) > .1 || g.N != w.N || g.Verdict != Significant || g.Method != w.Method || g.LagSeconds != 0 {
			t.Errorf("%+v, want %+v", g, w)
		}
	}
	now := l.Matrix()
	for i := range l.m {
		for j := range l.m {
			r, _ := l.At(i, j)
			if v := now.At(i, j); math.Abs(v-r) > 1e-6 || (v != v) != (r != r) {
				t.Fatalf("%d, %d: %v and %v", i, j, v, r)
			}
		}
	}
	if few, all, _ := l.Significant(0); len(few) != 0 || all != found {
		t.Errorf("%d of %d", len(few), all)
	}
	values := make([]float64, l.m)
	for range n / 2 {
		for i := range values {
			values[i] = rng.NormFloat64()
		}
		values[5] = -values[10] + .3*rng.NormFloat64() // both are white
		l.Tick(values)
	}
	if s := l.Span(); !s.From.Equal(f.Grid.Time(n/2)) || !s.To.Equal(f.Grid.Time(n+n/2-1)) {
		t.Errorf("the window is %v to %v", s.From, s.To)
	}
	got, _, _ = l.Significant(100)
	if !slices.ContainsFunc(got, func(p Pair) bool { return p.X == "s5" && p.Y == "s10" && p.R < -.3 && p.Rho < -.3 }) {
		t.Errorf("what moves together now is not among %d pairs", len(got))
	}
}

// TestPanicsOfWorkersReachTheCaller would otherwise end the process.
func TestPanicsOfWorkersReachTheCaller(t *testing.T) {
	f := plainFrame(mixedColumns(rand.New(rand.NewPCG(1, 1)), 10, 100)...)
	f.Signals[4].Values = f.Signals[4].Values[:60]
	defer func() {
		if v := recover(); v == nil {
			t.Error("no panic")
		}
	}()
	_, err := Prepare(context.Background(), f, Options{Workers: 4})
	t.Errorf("goes on: %v", err)
}
