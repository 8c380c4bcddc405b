package window

import "math/bits"

// Mask is a bit set over the cells of a grid: bit i is set where cell i holds a
// sample. Reading past its end gives gaps.
type Mask []uint64

// NewMask returns an all-gaps mask for n cells.
func NewMask(n int) Mask { return make(Mask, (n+63)/64) }

// MaskOf returns the mask of values: set wherever the value is not NaN.
func MaskOf(values []float64) Mask {
	m := NewMask(len(values))
	for i, v := range values {
		if v == v {
			m.Set(i)
		}
	}
	return m
}

// Get reports whether cell i holds a sample.
func (m Mask) Get(i int) bool {
	w := i >> 6
	return i >= 0 && w < len(m) && m[w]&(1<<(uint(i)&63)) != 0
}

// Set marks cell i as holding a sample.
func (m Mask) Set(i int) { m[i>>6] |= 1 << (uint(i) & 63) }

// Clear marks cell i as a gap.
func (m Mask) Clear(i int) { m[i>>6] &^= 1 << (uint(i) & 63) }

// Count returns how many cells hold a sample.
func (m Mask) Count() int {
	n := 0
	for _, w := range m {
		n += bits.OnesCount64(w)
	}
	return n
}

// Overlap counts the cells t for which both t of m and t+lag of o hold a
// sample. lag may be negative. It takes one popcount for 64 cells.
func (m Mask) Overlap(o Mask, lag int) int {
	if lag < 0 {
		return o.Overlap(m, -lag)
	}
	words, shift := lag>>6, uint(lag)&63
	n := 0
	for i := 0; i < len(m) && i+words < len(o); i++ {
		w := o[i+words] >> shift
		if shift > 0 && i+words+1 < len(o) {
			w |= o[i+words+1] << (64 - shift)
		}
		n += bits.OnesCount64(m[i] & w)
	}
	return n
}
