package flowmaster

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// pseudonyms replaces addresses by ones that mean nothing: equal for one address through
// one day (UTC), unrelated to those of the next. The key is random, stands only in
// memory and is forgotten with the day, so no list of addresses can be hashed to find out
// whose pseudonym it is.
type pseudonyms struct{ today atomic.Pointer[dayKey] }

type dayKey struct {
	day int64
	key [32]byte
}

const dayMilliseconds = int64(24 * time.Hour / time.Millisecond)

// apply replaces source and destination of r.
func (p *pseudonyms) apply(r *flow.Record) {
	k := p.keyOf(r.ReceivedMilliseconds / dayMilliseconds)
	r.SourceAddress = k.pseudonym(r.SourceAddress)
	r.DestinationAddress = k.pseudonym(r.DestinationAddress)
}

func (p *pseudonyms) keyOf(day int64) *dayKey {
	for {
		k := p.today.Load()
		if k != nil && k.day >= day {
			return k
		}
		next := &dayKey{day: day}
		_, _ = rand.Read(next.key[:]) // it never fails
		if p.today.CompareAndSwap(k, next) {
			return next
		}
	}
}

// pseudonym returns an address in fd00::/8, the block for local use, that holds 120 bits
// of a keyed hash. What was not reported stays so.
func (k *dayKey) pseudonym(a flow.Addr) flow.Addr {
	if a.IsZero() {
		return a
	}
	var in [48]byte
	copy(in[:], k.key[:])
	ip := a.As16()
	copy(in[32:], ip[:])
	sum := sha256.Sum256(in[:])
	sum[0] = 0xfd
	return flow.AddrFrom16(binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:]))
}
