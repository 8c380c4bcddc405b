package correlate

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestAxpy2(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []float32 {
		v := make([]float32, n+1)
		for i := range v {
			v[i] = rng.Float32() - .5
		}
		return v
	}
	for n := 1; n <= 70; n++ {
		x, y, dst := random(n), random(n), random(n)
		const a, b = .75, -1.5
		fast, portable := append([]float32{}, dst...), append([]float32{}, dst...)
		axpy2(fast[:n], x[:n], y[:n], a, b)
		axpy2Portable(portable[:n], x[:n], y[:n], a, b)
		for i := range n {
			want := float64(dst[i]) + a*float64(x[i]) + b*float64(y[i])
			if math.Abs(float64(fast[i])-want) > 1e-6 || math.Abs(float64(portable[i])-want) > 1e-6 {
				t.Errorf("n %d element %d: %v and %v, want %v", n, i, fast[i], portable[i], want)
			}
		}
		if fast[n] != dst[n] || portable[n] != dst[n] {
			t.Errorf("n %d: written past the end", n)
		}
	}
}

func BenchmarkAxpy2x1000(b *testing.B) {
	x, y, dst := make([]float32, 1000), make([]float32, 1000), make([]float32, 1000)
	for b.Loop() {
		axpy2(dst, x, y, .5, -.5)
	}
}
