package correlate

import "gonum.org/v1/gonum/blas/blas32"

// axpy2Portable adds a·x + b·y to dst. All are of one length.
func axpy2Portable(dst, x, y []float32, a, b float32) {
	v := func(x []float32) blas32.Vector { return blas32.Vector{N: len(dst), Data: x, Inc: 1} }
	// A row stays in the cache for the second.
	blas32.Axpy(a, v(x), v(dst))
	blas32.Axpy(b, v(y), v(dst))
}
