package balance

import "math/rand/v2"

// fastrand is the runtime's per-processor generator: no lock, no allocation.
func fastrand() uint64 { return rand.Uint64() }

// randBelow returns a number in [0, n) by multiply-shift; the bias is below n/2^32.
func randBelow(n int) int { return int((fastrand() >> 32) * uint64(n) >> 32) }

// randFloat returns a number in [0, 1).
func randFloat() float64 { return float64(fastrand()>>11) / (1 << 53) }
