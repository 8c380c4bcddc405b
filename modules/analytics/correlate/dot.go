package correlate

import "gonum.org/v1/gonum/blas/blas32"

// lanes is the length that vectors are padded to a multiple of, with zeros.
const lanes = 8

// padded returns a vector of n zeros with room behind it, so that a product may
// run over its end into zeros: up to lanes to fill the last register, and three
// more for four lags at once.
func padded(n int) []float32 { return make([]float32, n, n+2*lanes) }

// dot4Portable writes the products of a with b0 to b3 to out, all of one length.
func dot4Portable(out *[4]float32, a, b0, b1, b2, b3 []float32) {
	v := func(x []float32) blas32.Vector { return blas32.Vector{N: len(a), Data: x, Inc: 1} }
	out[0] = blas32.Dot(v(a), v(b0))
	out[1] = blas32.Dot(v(a), v(b1))
	out[2] = blas32.Dot(v(a), v(b2))
	out[3] = blas32.Dot(v(a), v(b3))
}
