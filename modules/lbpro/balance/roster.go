package balance

import (
	"cmp"
	"hash/fnv"
	"slices"
)

// roster is the membership that a hash table was made for. Members are in the order of
// their IDs, so that every balancer with the same backends makes the same table whatever
// order it lists them in.
type roster struct {
	members []*Backend
	seed    []uint64  // hash of the member's ID
	base    []float64 // the member's base weight
	place   []int32   // where the member stood in the list
	total   float64   // sum of base
	version uint64    // census.weighted at the time
}

func newRoster(list []*Backend) *roster {
	order := make([]int32, len(list))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(i, j int32) int { return cmp.Compare(list[i].ID, list[j].ID) })
	r := &roster{place: order}
	if len(list) > 0 {
		r.version = list[0].pool.census.weighted.Load()
	}
	for _, i := range order {
		b := list[i]
		w := b.Base()
		r.members = append(r.members, b)
		r.seed = append(r.seed, seedOf(b.ID))
		r.base = append(r.base, w)
		r.total += w
	}
	return r
}

// fits reports whether the roster is, for all that can be told in O(1), still that of
// list. That a member is where it was is checked by find.
func (r *roster) fits(list []*Backend) bool {
	return len(list) == len(r.members) && list[0].pool.census.weighted.Load() == r.version
}

// find returns the index of member m in list, -1 when it is not there. moved says that it
// was not where it stood, so that the list is another one. O(1), O(n) when moved.
func (r *roster) find(list []*Backend, m int) (index int, moved bool) {
	b := r.members[m]
	if i := int(r.place[m]); i < len(list) && list[i] == b {
		return i, false
	}
	return slices.Index(list, b), true
}

// same reports whether both have the same members with the same base weights, in
// whatever order their lists had them.
func (r *roster) same(o *roster) bool {
	return slices.Equal(r.members, o.members) && slices.Equal(r.base, o.base)
}

// seedOf hashes an ID, the same in every process.
func seedOf(id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return mix(h.Sum64())
}

// mix spreads x over 64 bits: the finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// unit maps a hash to (0, 1].
func unit(h uint64) float64 { return (float64(h>>11) + 1) / (1 << 53) }
