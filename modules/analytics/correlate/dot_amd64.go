package correlate

import "golang.org/x/sys/cpu"

var hasFMA = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// dot4AVX is dot4Portable for n elements, a multiple of lanes. One load of a serves
// four products, which is some three times as fast as one product after another.
//
//go:noescape
func dot4AVX(out *[4]float32, a, b0, b1, b2, b3 *float32, n int)

// dot4 writes the products of a with b0 to b3 to out. The length of a is a
// multiple of lanes; the others are at least as long.
func dot4(out *[4]float32, a, b0, b1, b2, b3 []float32) {
	n := len(a)
	if !hasFMA || n == 0 {
		dot4Portable(out, a, b0, b1, b2, b3)
		return
	}
	// The slices check here what the assembly cannot.
	b0, b1, b2, b3 = b0[:n], b1[:n], b2[:n], b3[:n]
	dot4AVX(out, &a[0], &b0[0], &b1[0], &b2[0], &b3[0], n)
}
