//go:build !amd64

package correlate

// dot4 writes the products of a with b0 to b3 to out. The length of a is a
// multiple of lanes; the others are at least as long.
func dot4(out *[4]float32, a, b0, b1, b2, b3 []float32) { dot4Portable(out, a, b0, b1, b2, b3) }
