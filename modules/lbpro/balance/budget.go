package balance

// Budget bounds how many second tries, retries and hedges together, a pool has under way:
// a share of the active requests plus a floor, so that a struggling pool is not buried
// under repeats (Envoy's retry budget). A try holds its place through its back-off too.
type Budget struct {
	pool   *Pool
	used   counter
	denied counter
}

// Take reserves a try if share of the active requests plus floor allows one more. Every
// success needs one Give.
func (b *Budget) Take(share float64, floor int) bool {
	if float64(b.used.Add(1)) <= share*float64(b.pool.active.Load())+float64(floor) {
		return true
	}
	b.used.Add(-1)
	b.denied.Add(1)
	return false
}

// Give ends a try.
func (b *Budget) Give() { b.used.Add(-1) }

// Used returns the tries under way, Denied how many were ever refused.
func (b *Budget) Used() int64 { return b.used.Load() }

// Denied returns how many tries were ever refused.
func (b *Budget) Denied() int64 { return b.denied.Load() }
