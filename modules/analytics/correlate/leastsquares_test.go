package correlate

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/floats"
)

// harmonics are the columns of a season of the given period, and noise on top of all of them.
func harmonics(n, period int, missing float64, rng *rand.Rand) (x []float64, cols [][]float64) {
	one := make([]float64, n)
	for i := range one {
		one[i] = 1
	}
	cols = append(cols, one)
	for h := 1; 2*h < period; h++ {
		s, c := make([]float64, n), make([]float64, n)
		for i := range s {
			s[i], c[i] = math.Sincos(2 * math.Pi * float64(h) * float64(i) / float64(period))
		}
		cols = append(cols, s, c)
	}
	x = make([]float64, n)
	for _, c := range cols {
		floats.AddScaled(x, rng.NormFloat64(), c)
	}
	for i := range x {
		if x[i] += rng.NormFloat64(); rng.Float64() < missing {
			x[i] = math.NaN()
		}
	}
	return x, cols
}

// Of many columns the solution is found by steps, and leaves a residual orthogonal to each.
func TestManyColumnsAreFittedExactly(t *testing.T) {
	for _, missing := range []float64{0, .2} {
		rng := rand.New(rand.NewPCG(11, 12))
		x, cols := harmonics(3000, 200, missing, rng)
		if len(cols) <= manyColumns {
			t.Fatalf("%d columns are not many", len(cols))
		}
		if missing == 0 {
			if _, ok := conjugateGradients(x, cols); !ok {
				t.Fatal("the steps come to no end")
			}
		}
		residual, beta := leastSquares(x, cols)
		if len(beta) != len(cols) {
			t.Fatalf("%d coefficients of %d columns", len(beta), len(cols))
		}
		var of float64
		for i, v := range residual {
			if v == v {
				of += v * v
			} else if x[i] == x[i] {
				t.Fatalf("a gap where there is none at %d", i)
			} else {
				residual[i] = 0
			}
		}
		for a, c := range cols {
			if dot := floats.Dot(c, residual); math.Abs(dot) > 1e-6*math.Sqrt(of) {
				t.Errorf("with %v missing, column %d is still in the residual: %g of %g", missing, a, dot, math.Sqrt(of))
			}
		}
	}
}

// Columns that do not determine the coefficients still leave the best residual.
func TestManyColumnsThatAreOne(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	x, cols := harmonics(2000, 100, 0, rng)
	want, _ := leastSquares(x, cols)
	twice := append([][]float64{}, cols...)
	twice = append(twice, cols...)
	got, _ := leastSquares(x, twice)
	if !floats.EqualApprox(got, want, 1e-5) {
		t.Errorf("the residual is another by up to %g", floats.Distance(got, want, math.Inf(1)))
	}
}

func BenchmarkLeastSquaresHarmonics(b *testing.B) {
	rng := rand.New(rand.NewPCG(15, 16))
	for b.Loop() {
		b.StopTimer()
		x, cols := harmonics(20_000, 1440, 0, rng)
		b.StartTimer()
		leastSquares(x, cols)
	}
}
