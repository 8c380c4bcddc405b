package balance

import "time"

// Backoff is exponential with full jitter: before try n it waits a random time in
// [0, min(Max, Base·2^(n−1))) (Brooker, "Exponential backoff and jitter", AWS 2015).
type Backoff struct {
	Base, Max time.Duration
}

// Delay returns how long to wait before the n-th repeat, n from 1.
func (b Backoff) Delay(n int) time.Duration {
	if b.Base <= 0 || n < 1 {
		return 0
	}
	top := b.Max
	if n-1 < 30 && b.Base<<(n-1) < b.Max {
		top = b.Base << (n - 1)
	}
	return time.Duration(randFloat() * float64(top))
}
