//go:build !amd64

package correlate

// axpy2 adds a·x + b·y to dst. All are of one length.
func axpy2(dst, x, y []float32, a, b float32) { axpy2Portable(dst, x, y, a, b) }
