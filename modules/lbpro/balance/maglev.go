package balance

import "slices"

// Maglev hashes requests to backends with the lookup table of Google's load balancer
// (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI
// 2016): every backend fills the table in an order of its own, taking turns in proportion
// to weight. The share of each is exact to within a few slots; when a backend comes or
// goes, its own requests move and few others.
//
// The table is made off the request path when members or operators' weights change. A
// backend that cannot take a request passes it on to the next slots, the same for every
// request of a slot. Slow start and advice do not change the table: a backend that takes
// only a part of its share lets go of the same keys each time. O(1).
type Maglev struct {
	// Size of the table, a prime well above the number of backends. Default 65537.
	Size int

	table tableOf[maglevTable]
}

// MaglevSize is the default size of the table, that of Envoy and of the paper's large one.
const MaglevSize = 65537

// maglevWalk is how many further slots are tried for a backend that can take the request.
const maglevWalk = 64

type maglevTable struct {
	*roster
	slots []int32 // member by slot
}

// Prepare makes the table for list now, rather than after the first request.
func (m *Maglev) Prepare(list []*Backend) {
	if len(list) > 0 {
		m.table.make(list, m.build)
	}
}

// Pick implements [Picker].
func (m *Maglev) Pick(list []*Backend, c *Choice) int {
	if len(list) == 0 {
		return -1
	}
	t := m.table.get()
	if t == nil || !t.fits(list) {
		m.table.remake(list, m.build)
	}
	if t == nil || len(t.slots) == 0 {
		return ranked(list, c)
	}
	key := mix(c.Key)
	slot := int(key % uint64(len(t.slots)))
	for k := range maglevWalk {
		s := slot + k
		if s >= len(t.slots) {
			s -= len(t.slots)
		}
		member := t.slots[s]
		i, moved := t.find(list, int(member))
		if moved {
			m.table.remake(list, m.build)
		}
		if i >= 0 && c.Eligible(list[i]) && t.keeps(int(member), uint64(slot)) {
			return i
		}
	}
	return ranked(list, c)
}

// keeps reports whether the member takes requests of this kind now: always, but for one
// in slow start or of reduced weight, which takes a fixed part of the kinds.
func (r *roster) keeps(member int, kind uint64) bool {
	share := r.members[member].share()
	return share >= 1 || unit(mix(kind^r.seed[member]*3)) <= share
}

// ranked chooses by unweighted rendezvous among all, for when there is no table yet or
// hardly any backend can take requests. O(n).
func ranked(list []*Backend, c *Choice) int {
	chosen, best := -1, uint64(0)
	for i, b := range list {
		if !c.Eligible(b) {
			continue
		}
		if h := mix(c.Key ^ seedOf(b.ID)); chosen < 0 || h > best {
			chosen, best = i, h
		}
	}
	return chosen
}

// build fills a table.
func (m *Maglev) build(list []*Backend, old *maglevTable) *maglevTable {
	r := newRoster(list)
	if old != nil && r.same(old.roster) {
		return &maglevTable{r, old.slots}
	}
	size := m.Size
	if size <= 0 {
		size = MaglevSize
	}
	return &maglevTable{r, fillMaglev(r, size)}
}

// fillMaglev lets the members take turns at their preferred slots until all are taken. A
// member of half the heaviest weight takes every other turn. O(size · log size) expected.
func fillMaglev(r *roster, size int) []int32 {
	if r.total == 0 {
		return nil
	}
	n := uint64(size)
	heaviest := slices.Max(r.base)
	at, skip := make([]uint64, len(r.members)), make([]uint64, len(r.members))
	credit := make([]float64, len(r.members))
	for i, seed := range r.seed {
		at[i] = seed % n
		skip[i] = 1
		if n > 1 {
			skip[i] = mix(seed)%(n-1) + 1
		}
	}
	slots := make([]int32, size)
	for i := range slots {
		slots[i] = -1
	}
	for left := size; ; {
		for i := range r.members {
			if credit[i] += r.base[i] / heaviest; credit[i] < 1 {
				continue
			}
			credit[i]--
			for slots[at[i]] >= 0 {
				at[i] = (at[i] + skip[i]) % n
			}
			slots[at[i]] = int32(i)
			if left--; left == 0 {
				return slots
			}
		}
	}
}
