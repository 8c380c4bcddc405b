package correlate

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestDot4(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := 0; n <= 120; n += lanes {
		v := make([][]float32, 5)
		for i := range v {
			// One more than needed: nothing past the length may be read into the sum.
			v[i] = make([]float32, n+1)
			for j := range v[i] {
				v[i][j] = rng.Float32() - .5
			}
			v[i][n] = float32(math.NaN())
		}
		var fast, portable [4]float32
		dot4(&fast, v[0][:n], v[1], v[2], v[3], v[4])
		dot4Portable(&portable, v[0][:n], v[1][:n], v[2][:n], v[3][:n], v[4][:n])
		for k := range 4 {
			want := 0.0
			for j := range n {
				want += float64(v[0][j]) * float64(v[k+1][j])
			}
			if math.Abs(float64(fast[k])-want) > 1e-5 || math.Abs(float64(portable[k])-want) > 1e-5 {
				t.Errorf("n %d product %d: %v and %v, want %v", n, k, fast[k], portable[k], want)
			}
		}
	}
}

func BenchmarkDot4x1000(b *testing.B) {
	a := make([]float32, 1000)
	var out [4]float32
	for b.Loop() {
		dot4(&out, a, a, a, a, a)
	}
}
