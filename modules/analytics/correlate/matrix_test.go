package correlate

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

func TestMatrixIsTheScoresCorrelation(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	columns := mixedColumns(rng, 61, 203) // more than a tile, not a multiple of anything
	for i, c := range columns {
		if i%3 == 0 {
			punch(rng, c, .2)
		}
	}
	clear(columns[7])
	for i := range columns[8] {
		columns[8][i] = math.NaN()
	}
	a, err := Prepare(context.Background(), plainFrame(columns...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := a.Matrix(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range a.series {
		for j, y := range a.series {
			if x.unfit != "" || y.unfit != "" {
				if !math.IsNaN(m.At(i, j)) {
					t.Fatalf("%d and %d: %v, of which nothing can be said", i, j, m.At(i, j))
				}
				continue
			}
			sum, n := 0.0, 0
			for k := range x.z {
				if x.mask.Get(k) && y.mask.Get(k) {
					sum += float64(x.z[k]) * float64(y.z[k])
					n++
				}
			}
			if want := sum / float64(n); math.Abs(m.At(i, j)-want) > 1e-4 {
				t.Fatalf("%d and %d: %v, want %v", i, j, m.At(i, j), want)
			}
		}
	}
	if len(a.LeftOut()) != 2 {
		t.Errorf("left out: %v", a.LeftOut())
	}
}

func TestMatrixSignificance(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	wrong, right := 0, 0
	repeats := repetitions(300, 3000)
	for range repeats {
		var columns [][]float64
		at := regularly(500)
		for range 3 {
			x, y := follower(rng, coreProcesses[2], at, 0)
			columns = append(columns, x, y)
		}
		for range 10 {
			columns = append(columns, coreProcesses[3].draw(rng, at))
		}
		a, err := Prepare(context.Background(), plainFrame(columns...), Options{})
		if err != nil {
			t.Fatal(err)
		}
		m, err := a.Matrix(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		pairs, total := m.Significant(0)
		if total != len(pairs) {
			t.Fatalf("%d of %d", len(pairs), total)
		}
		for _, p := range pairs {
			var i, j int
			fmt.Sscanf(p.X+" "+p.Y, "s%d s%d", &i, &j)
			if i/2 == j/2 && i < 6 {
				right++
			} else {
				wrong++
			}
		}
	}
	t.Logf("%d right and %d wrong of %d planted", right, wrong, 3*repeats)
	if right < 3*repeats*95/100 || float64(wrong) > most(right+wrong, .05) {
		t.Errorf("%d right and %d wrong of %d planted", right, wrong, 3*repeats)
	}
}

// TestLiveFollowsTheWindow ticks a live matrix through more than a window and
// compares with sums over its own scores; and with a fresh analysis.
func TestLiveFollowsTheWindow(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	const n, more = 400, 150
	at := regularly(n + more)
	var columns [][]float64
	for range 4 {
		x, y := follower(rng, coreProcesses[1], at, 0)
		columns = append(columns, x, y)
	}
	x, y := follower(rng, coreProcesses[4], at, 0)
	columns = append(columns, x, y, make([]float64, n+more))
	for i, c := range columns {
		if i%2 == 0 {
			punch(rng, c, .1)
		}
	}
	part := func(from, to int) *window.Frame {
		var cut [][]float64
		for _, c := range columns {
			cut = append(cut, c[from:to])
		}
		return plainFrame(cut...)
	}
	f := part(0, n)
	a, err := Prepare(context.Background(), f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLive(a, f)
	if err != nil {
		t.Fatal(err)
	}
	for k := range more {
		values := make([]float64, len(columns))
		for i, c := range columns {
			values[i] = c[n+k]
		}
		l.Tick(values)
	}
	checkLiveSums(t, l)

	fresh, err := Prepare(context.Background(), part(more, n+more), Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := fresh.Matrix(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 10; i += 2 {
		r, _ := l.At(i, i+1)
		if math.Abs(r-m.At(i, i+1)) > .12 || r < .4 {
			t.Errorf("pair %d: live %.3f, afresh %.3f", i, r, m.At(i, i+1))
		}
		if r, _ := l.At(i, (i+3)%10); math.Abs(r) > .25 {
			t.Errorf("unrelated pair %d: %.3f", i, r)
		}
	}
	if r, n := l.At(0, 10); !math.IsNaN(r) || n != 0 {
		t.Errorf("a constant correlates: %v over %d", r, n)
	}
}

// checkLiveSums compares every correlation with what its scores give.
func checkLiveSums(t *testing.T, l *Live) {
	t.Helper()
	for i := range l.m {
		for j := range l.m {
			if l.series[i] == nil || l.series[j] == nil {
				continue
			}
			sum, n := 0.0, 0
			for k := range l.n {
				if !l.gap[k*l.m+i] && !l.gap[k*l.m+j] {
					sum += float64(l.scores[k*l.m+i]) * float64(l.scores[k*l.m+j])
					n++
				}
			}
			mi, vi := l.moments(i)
			mj, vj := l.moments(j)
			want := (sum/float64(n) - mi*mj) / math.Sqrt(vi*vj)
			got, over := l.At(i, j)
			if math.IsNaN(got) && min(vi, vj) < .1 {
				continue // stands still by now
			}
			if over != n || math.Abs(got-want)*min(vi, vj, 1) > 2e-5 {
				t.Fatalf("%d and %d: %v over %d, want %v over %d", i, j, got, over, want, n)
			}
		}
	}
}

// TestLiveDoesNotDrift feeds extremes for many windows: what rounding leaves must
// stay below what anyone could see.
func TestLiveDoesNotDrift(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	const m, n = 8, 64
	f := plainFrame(mixedColumns(rng, m, n)...)
	a, err := Prepare(context.Background(), f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLive(a, f)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float64, m)
	for k := range 20000 {
		for i := range values {
			values[i] = rng.NormFloat64() * math.Pow(10, float64(k%7-3))
			switch rng.IntN(50) {
			case 0:
				values[i] = math.NaN()
			case 1:
				values[i] = math.Inf(1)
			}
		}
		l.Tick(values)
	}
	checkLiveSums(t, l)
}

func TestClusterPutsTogetherWhatMovesTogether(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	const n = 60
	group := rng.Perm(n)
	d := Cluster(n, func(i, j int) float64 {
		if group[i]%4 == group[j]%4 {
			return .2 + .1*math.Abs(math.Sin(float64(i*j)))
		}
		return .8 + .1*math.Abs(math.Cos(float64(i*j)))
	})
	seen := slices.Clone(d.Order)
	slices.Sort(seen)
	if len(d.Merges) != n-1 || !slices.Equal(seen, func() []int {
		s := make([]int, n)
		for i := range s {
			s[i] = i
		}
		return s
	}()) {
		t.Fatalf("%d merges, order %v", len(d.Merges), d.Order)
	}
	changes := 0
	for k := 1; k < n; k++ {
		if group[d.Order[k]]%4 != group[d.Order[k-1]]%4 {
			changes++
		}
	}
	if changes != 3 {
		t.Errorf("four groups are cut into %d", changes+1)
	}
}

// TestClusterIsAverageLinkage compares heights with a plain search for the closest
// pair.
func TestClusterIsAverageLinkage(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	const n = 25
	dist := make([][]float64, n)
	for i := range dist {
		dist[i] = make([]float64, n)
		for j := range i {
			dist[i][j] = rng.Float64()
			dist[j][i] = dist[i][j]
		}
	}
	var got []float64
	for _, m := range Cluster(n, func(i, j int) float64 { return dist[i][j] }).Merges {
		got = append(got, m.Height)
	}
	slices.Sort(got)
	clusters := make([][]int, n)
	for i := range clusters {
		clusters[i] = []int{i}
	}
	for k := 0; len(clusters) > 1; k++ {
		bi, bj, least := 0, 0, math.Inf(1)
		for i := range clusters {
			for j := range i {
				sum := 0.0
				for _, a := range clusters[i] {
					for _, b := range clusters[j] {
						sum += dist[a][b]
					}
				}
				if mean := sum / float64(len(clusters[i])*len(clusters[j])); mean < least {
					bi, bj, least = i, j, mean
				}
			}
		}
		if math.Abs(got[k]-least) > 1e-12 {
			t.Fatalf("merge %d at %v, want %v", k, got[k], least)
		}
		clusters[bj] = append(clusters[bj], clusters[bi]...)
		clusters = slices.Delete(clusters, bi, bi+1)
	}
	if one := Cluster(1, nil); len(one.Order) != 1 || len(Cluster(0, nil).Order) != 0 {
		t.Error("one item and none")
	}
	if same := Cluster(9, func(i, j int) float64 { return .5 }); len(same.Order) != 9 {
		t.Error("all alike")
	}
}
