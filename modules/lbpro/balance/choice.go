package balance

// Choice is one request's view of the pool: what it has tried already, its hash key, and
// how far it has to lower its standards. The zero value is a first try. It is reused
// over the tries of a request and belongs to its goroutine.
type Choice struct {
	// Key is what the request hashes to, for the policies that hash.
	Key uint64
	// Idempotent says that the request may be sent twice, so it may be a probe.
	Idempotent bool

	tier  tier
	tried [8]*Backend
	n     int
}

// tier is a standard that candidates have to meet. Choose goes through them in order.
type tier uint8

const (
	tierOpen    tier = iota // serving, answering, not a backup
	tierBackup              // the same among the backups
	tierSilent              // also those gone silent
	tierAnyone              // also ejected ones: the pool is in a panic
	tierRetried             // also those that this request has tried
	tierNone
)

// Tried adds b to what Choose avoids while there is another. Past eight it forgets the
// oldest.
func (c *Choice) Tried(b *Backend) {
	c.tried[c.n%len(c.tried)] = b
	c.n++
}

// HasTried reports whether b was tried before.
func (c *Choice) HasTried(b *Backend) bool {
	for i := range min(c.n, len(c.tried)) {
		if c.tried[i] == b {
			return true
		}
	}
	return false
}

// Reset forgets what was tried, for a request that starts over from the queue.
func (c *Choice) Reset() { c.n = 0 }

// Tries returns how many backends were tried.
func (c *Choice) Tries() int { return c.n }

// Eligible reports whether b meets the standard of this round. Pickers call it for every
// backend they consider.
func (c *Choice) Eligible(b *Backend) bool {
	s := State(b.state.Load())
	if s == Draining || b.weight.Load() == 0 || b.Full() {
		return false
	}
	switch c.tier {
	case tierOpen:
		if s != Serving || b.silent.Load() || b.resting.Load() || b.backup.Load() {
			return false
		}
	case tierBackup:
		if s != Serving || b.silent.Load() || b.resting.Load() {
			return false
		}
	case tierSilent:
		if s != Serving {
			return false
		}
	case tierAnyone:
	default:
		return true
	}
	return c.n == 0 || !c.HasTried(b)
}

// Picker is a policy: it chooses one of the backends.
type Picker interface {
	// Pick returns the index of the chosen backend in list, or -1 when none of them is
	// c.Eligible. It must not allocate or block. list is shared and must not be changed.
	Pick(list []*Backend, c *Choice) int
}

// Choose picks a backend from list, whose members belong to p: first those that want a
// probe, then by the policy, with lower standards step by step. It returns
// -1 when every backend is full or draining. probe is true for the request that is a probe. Choose does not reserve; follow it with [Backend.Begin].
func (p *Pool) Choose(list []*Backend, policy Picker, c *Choice) (index int, probe bool) {
	if p.wanted.Load() > 0 && c.n == 0 {
		if i := p.claimProbe(list, c); i >= 0 {
			return i, true
		}
	}
	for c.tier = tierOpen; c.tier < tierNone; c.tier++ {
		if c.tier == tierAnyone && !p.panicked.Load() {
			continue
		}
		if c.tier == tierRetried && c.n == 0 {
			break
		}
		if i := policy.Pick(list, c); i >= 0 {
			return i, false
		}
	}
	return -1, false
}

// PickOpen asks the policy among the backends in good standing that were not tried.
func (c *Choice) PickOpen(list []*Backend, policy Picker) int {
	c.tier = tierOpen
	return policy.Pick(list, c)
}

// claimProbe takes the probe that a half-open, silent or slow backend wants. Requests that cannot be repeated
// are spared while others come: should the probe fail, nobody must notice.
func (p *Pool) claimProbe(list []*Backend, c *Choice) int {
	for i, b := range list {
		if b.wanted.Load() && (c.Idempotent || b.anyProbe.Load()) && !b.Full() && b.wanted.CompareAndSwap(true, false) {
			p.wanted.Add(-1)
			return i
		}
	}
	return -1
}

// Unprobe gives back a probe that Choose has claimed and that will not be sent.
func (b *Backend) Unprobe() { b.wanted.Store(true) }
