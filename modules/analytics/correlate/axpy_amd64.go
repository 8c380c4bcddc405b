package correlate

// axpy2AVX is axpy2Portable for n elements, a multiple of lanes and not 0. Each element of dst
// is loaded and stored once for both products.
//
//go:noescape
func axpy2AVX(dst, x, y *float32, a, b float32, n int)

// axpy2 adds a·x + b·y to dst. All are of one length.
func axpy2(dst, x, y []float32, a, b float32) {
	n := len(dst) / lanes * lanes
	if !hasFMA || n == 0 {
		axpy2Portable(dst, x, y, a, b)
		return
	}
	// The slices check here what the assembly cannot.
	x, y = x[:len(dst)], y[:len(dst)]
	axpy2AVX(&dst[0], &x[0], &y[0], a, b, n)
	for i := n; i < len(dst); i++ {
		dst[i] += a*x[i] + b*y[i]
	}
}
