package balance

// A pool whose requests somebody else counts, and that is never told of attempts, is kept
// up to date with Mirror. Policies that go by requests in flight then work; nothing is
// known of speed and failures.

// Mirror sets how many requests are in flight at the backend.
func (b *Backend) Mirror(inflight int) { b.inflight.Store(int64(inflight)) }

// Mirror sets how many requests are in the pool.
func (p *Pool) Mirror(active int) { p.active.Store(int64(active)) }

// Pool returns the pool that the backend belongs to.
func (b *Backend) Pool() *Pool { return b.pool }
