package balance

import (
	"math"
	"sync/atomic"
)

// BoundedHash is weighted rendezvous hashing with a bound on load. Of all backends that
// can take it, a request goes to the one with the lowest
//
//	−ln(hash(key, backend)) / weight
//
// (Thaler and Ravishankar, 1998; Schindelhauer and Schomaker, 2005, for weights), passing
// over those with
//
//	inflight ≥ ⌈Factor · (requests in the pool) · weight/Σweight⌉
//
// (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2018), so
// that a hot key spills over to its next best backends instead of drowning one. When a
// backend comes or goes, or its weight changes, only requests that it wins or loses move.
//
// Keys are reduced to 2^16 kinds, so that the best eight of a kind can be remembered:
// those are worked out when a kind is first asked for, O(n), and forgotten when members
// or operators' weights change. Slow start and advice thin out a backend's keys, see
// [Maglev]. O(1) while one of the eight can take the request, else O(n).
type BoundedHash struct {
	// Factor is how far above the average load a backend may be. Default 1.25, at least
	// 1; infinity is plain rendezvous hashing.
	Factor float64

	table tableOf[hashTable]
}

const (
	loadFactor = 1.25
	hashBits   = 16
	hashKinds  = 1 << hashBits
	// ranks remembered for a kind: four 16-bit numbers to a word.
	// Numbers remembered are one more than the member's, so that 0 is none.
	ranks   = 8
	perWord = 4
)

// hashTable remembers the best members of each kind. A word of 0 is not known yet.
type hashTable struct {
	*roster
	best *[hashKinds][ranks / perWord]atomic.Uint64
}

// Prepare makes the table for list now, rather than after the first request.
func (h *BoundedHash) Prepare(list []*Backend) {
	if len(list) > 0 {
		h.table.make(list, h.build)
	}
}

func (h *BoundedHash) build(list []*Backend, old *hashTable) *hashTable {
	r := newRoster(list)
	if old != nil && r.same(old.roster) {
		return &hashTable{r, old.best}
	}
	return &hashTable{r, new([hashKinds][ranks / perWord]atomic.Uint64)}
}

// Pick implements [Picker].
func (h *BoundedHash) Pick(list []*Backend, c *Choice) int {
	if len(list) == 0 {
		return -1
	}
	t := h.table.get()
	if t == nil || !t.fits(list) {
		h.table.remake(list, h.build)
	}
	if t == nil {
		return ranked(list, c)
	}
	bound := h.bound(list[0].pool, t.total)
	kind := mix(c.Key) >> (64 - hashBits)
	for _, word := range t.ranked(kind) {
		for ; word != 0; word >>= 64 / perWord {
			member := int(word&0xffff) - 1
			i, moved := t.find(list, member)
			if moved {
				h.table.remake(list, h.build)
			}
			if i >= 0 && c.Eligible(list[i]) && bound.allows(list[i]) && t.keeps(member, kind) {
				return i
			}
		}
	}
	return h.scan(list, c, t, kind, bound)
}

// bound is the load that a backend may have per unit of weight.
type bound float64

// bound is worked out from the requests in the pool, this one included, and the weight of
// the backends that share them.
func (h *BoundedHash) bound(p *Pool, total float64) bound {
	factor := h.Factor
	if factor <= 0 {
		factor = loadFactor
	}
	open := math.Float64frombits(p.census.open.Load())
	if open == 0 {
		open = total
	}
	return bound(max(factor, 1) * float64(max(1, p.active.Load())) / open)
}

func (x bound) allows(b *Backend) bool {
	return float64(b.inflight.Load()) < math.Ceil(float64(x)*b.Weight())
}

// ranked returns the best members of a kind, working them out if they are not known.
func (t *hashTable) ranked(kind uint64) (words [ranks / perWord]uint64) {
	cell := &t.best[kind]
	if words[0] = cell[0].Load(); words[0] != 0 {
		for i := 1; i < len(words); i++ {
			words[i] = cell[i].Load()
		}
		return words
	}
	words = t.rank(kind)
	for i := len(words) - 1; i >= 0; i-- {
		cell[i].Store(words[i]) // the first one last: it says that all are known
	}
	return words
}

// rank works out the best members of a kind. O(n).
func (t *hashTable) rank(kind uint64) (words [ranks / perWord]uint64) {
	var cost [ranks]float64
	var who [ranks]uint16
	n := 0
	for m, w := range t.base {
		if w == 0 || m >= math.MaxUint16 {
			continue
		}
		u := unit(mix(kind ^ t.seed[m]))
		// 1−u ≤ −ln u spares most members the logarithm.
		if n == ranks && (1-u) >= cost[ranks-1]*w {
			continue
		}
		x := -math.Log(u) / w
		if n == ranks && x >= cost[ranks-1] {
			continue
		}
		k := min(n, ranks-1)
		for ; k > 0 && cost[k-1] > x; k-- {
			cost[k], who[k] = cost[k-1], who[k-1]
		}
		cost[k], who[k] = x, uint16(m)
		n = min(n+1, ranks)
	}
	for k := range n {
		words[k/perWord] |= uint64(who[k]+1) << (k % perWord * 16)
	}
	return words
}

// scan looks at everyone: first for the best within the bound, and when all are above it,
// which rounding and changing membership can bring about, for the least loaded. O(n).
func (h *BoundedHash) scan(list []*Backend, c *Choice, t *hashTable, kind uint64, limit bound) int {
	chosen, best := -1, math.Inf(1)
	for m, b := range t.members {
		if !limit.allows(b) || !c.Eligible(b) || !t.keeps(m, kind) {
			continue
		}
		u := unit(mix(kind ^ t.seed[m]))
		if (1-u)/t.base[m] >= best {
			continue
		}
		if x := -math.Log(u) / t.base[m]; x < best {
			if i, _ := t.find(list, m); i >= 0 {
				chosen, best = i, x
			}
		}
	}
	if chosen >= 0 {
		return chosen
	}
	return LeastRequest{}.Pick(list, c)
}
