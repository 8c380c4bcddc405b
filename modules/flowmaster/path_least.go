package flowmaster

import (
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

const (
	// leastSpan is how long the least round-trip time of an address holds, in seconds; at
	// most twice as long, for two spans are kept. After that a longer way, say by another
	// route, is how it is.
	leastSpan = 300
	// A backend may be reached at several addresses, near and far. Those beyond have only
	// what each connection saw itself.
	leastAddresses = 64
)

// leastRTT is the least round-trip time to one address in this span and the one before.
type leastRTT struct {
	began       int64
	now, before time.Duration
}

// take takes in the least time that a connection has seen, and returns that of the address.
func (l *leastRTT) take(now int64, d time.Duration) time.Duration {
	switch past := now - l.began; {
	case past >= 2*leastSpan:
		*l = leastRTT{now, d, d}
	case past >= leastSpan:
		*l = leastRTT{now, d, l.now}
	}
	l.now = min(l.now, d)
	return min(l.now, l.before)
}

// leastRTTs knows the least round-trip times by address. A connection that is opened while
// packets wait in a queue has never seen the way without it and takes the wait for the
// distance; those that were there before know better.
type leastRTTs map[flow.Addr]*leastRTT

// take takes in the least time that a connection to an address has seen, and returns the
// least that is known.
func (all leastRTTs) take(now int64, peer flow.Addr, d time.Duration) time.Duration {
	l := all[peer]
	if l == nil {
		if len(all) >= leastAddresses && !all.forget(now) {
			return d
		}
		l = &leastRTT{began: now, now: d, before: d}
		all[peer] = l
	}
	return l.take(now, d)
}

// forget removes the addresses of which nothing is known any more, and reports whether
// there were any.
func (all leastRTTs) forget(now int64) bool {
	n := len(all)
	for peer, l := range all {
		if now-l.began >= 2*leastSpan {
			delete(all, peer)
		}
	}
	return len(all) < n
}
