package flow

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// Key is what a dimension counts by: an address or prefix, or a number.
type Key struct {
	Address Addr
	Number  uint32
}

// Counter is one key of a top list. The true count lies between Count-Error
// and Count.
type Counter struct {
	Key   Key
	Count uint64
	Error uint64
}

// spaceSaving finds the keys with the largest sums of weights in a stream,
// with k counters (Metwally, Agrawal, El Abbadi: "Efficient computation of
// frequent and top-k elements in data streams", ICDT 2005; weights as in
// Cormode and Hadjieleftheriou, VLDB 2008). A key that is not counted takes
// over the smallest counter, whose count becomes its error. Every key whose
// sum is over 1/k of the total is in the list, and no error is over that.
//
// Counters lie in a binary heap by count, found through a hash table with
// open addressing. An update takes O(log k) and allocates nothing.
type spaceSaving struct {
	seed     maphash.Seed
	counters []heapCounter // in heap order, the smallest first
	index    []uint32      // position in counters + 1; 0 is empty
	k        int
	total    uint64
}

type heapCounter struct {
	Counter
	slot uint32 // in index
	hash uint32
}

func newSpaceSaving(k int) *spaceSaving {
	return &spaceSaving{seed: maphash.MakeSeed(), counters: make([]heapCounter, 0, k), index: make([]uint32, indexLength(k)), k: k}
}

// indexLength is the power of two that keeps the index at most half full.
func indexLength(k int) int { return max(16, 1<<bits.Len(uint(2*k-1))) }

// reset empties the list and keeps its memory.
func (s *spaceSaving) reset() {
	s.counters, s.total = s.counters[:0], 0
	clear(s.index)
}

// add adds weight to key.
func (s *spaceSaving) add(key Key, weight uint64) {
	if weight == 0 {
		return
	}
	s.total = sum(s.total, weight)
	hash := uint32(maphash.Comparable(s.seed, key))
	mask := uint32(len(s.index) - 1)
	i := hash & mask
	for ; s.index[i] != 0; i = (i + 1) & mask {
		at := int(s.index[i] - 1)
		if c := &s.counters[at]; c.hash == hash && c.Key == key {
			c.Count = sum(c.Count, weight)
			s.down(at)
			return
		}
	}
	if len(s.counters) < s.k {
		s.counters = append(s.counters, heapCounter{Counter{key, weight, 0}, i, hash})
		at := len(s.counters) - 1
		s.index[i] = uint32(at + 1)
		s.up(at)
		return
	}
	least := s.counters[0].Count
	s.unlink(s.counters[0].slot)
	for i = hash & mask; s.index[i] != 0; i = (i + 1) & mask {
	}
	s.counters[0] = heapCounter{Counter{key, sum(least, weight), least}, i, hash}
	s.index[i] = 1
	s.down(0)
}

// unlink empties a slot of the index and moves up those behind it that would
// not be found over the gap.
func (s *spaceSaving) unlink(gap uint32) {
	mask := uint32(len(s.index) - 1)
	for i := gap; ; {
		i = (i + 1) & mask
		if s.index[i] == 0 {
			s.index[gap] = 0
			return
		}
		c := &s.counters[s.index[i]-1]
		if home := c.hash & mask; (i-home)&mask >= (i-gap)&mask {
			s.index[gap], c.slot = s.index[i], gap
			gap = i
		}
	}
}

// up moves the counter at position at towards the root.
func (s *spaceSaving) up(at int) {
	c := s.counters[at]
	for at > 0 {
		parent := (at - 1) / 2
		if s.counters[parent].Count <= c.Count {
			break
		}
		s.put(at, s.counters[parent])
		at = parent
	}
	s.put(at, c)
}

// down moves the counter at position at away from the root.
func (s *spaceSaving) down(at int) {
	c := s.counters[at]
	for {
		child := 2*at + 1
		if child >= len(s.counters) {
			break
		}
		if child+1 < len(s.counters) && s.counters[child+1].Count < s.counters[child].Count {
			child++
		}
		if s.counters[child].Count >= c.Count {
			break
		}
		s.put(at, s.counters[child])
		at = child
	}
	s.put(at, c)
}

func (s *spaceSaving) put(at int, c heapCounter) {
	s.counters[at] = c
	s.index[c.slot] = uint32(at + 1)
}

// least is the most that a key can have that is not in the list.
func (s *spaceSaving) least() uint64 {
	if len(s.counters) < s.k {
		return 0
	}
	return s.counters[0].Count
}

// summary copies the list.
func (s *spaceSaving) summary() *topSummary {
	t := &topSummary{counters: make([]Counter, len(s.counters)), least: s.least(), total: s.total}
	for i := range s.counters {
		t.counters[i] = s.counters[i].Counter
	}
	return t
}

// topSummary is a top list that is not added to any more.
type topSummary struct {
	counters []Counter
	least    uint64 // bound of what is not in the list
	total    uint64
}

// mergeSummaries puts lists of different shards or times together and keeps
// the k largest counters (Agarwal et al.: "Mergeable summaries", PODS 2012). A
// key that is in some lists only may have been in the others with up to their
// least count; that is added to its count, and to its error.
func mergeSummaries(k int, parts []*topSummary) *topSummary {
	out := &topSummary{}
	position := make(map[Key]int)
	for _, p := range parts {
		out.least = sum(out.least, p.least)
		out.total = sum(out.total, p.total)
	}
	for _, p := range parts {
		for _, c := range p.counters {
			i, ok := position[c.Key]
			if !ok {
				i = len(out.counters)
				position[c.Key] = i
				out.counters = append(out.counters, Counter{c.Key, out.least, out.least})
			}
			// What the key was taken to have in this list, and what it has.
			m := &out.counters[i]
			m.Count = sum(m.Count-p.least, c.Count)
			m.Error = m.Error - p.least + c.Error
		}
	}
	sortCounters(out.counters)
	if len(out.counters) > k {
		out.least = max(out.least, out.counters[k].Count)
		out.counters = slices.Clip(out.counters[:k])
	}
	return out
}

// sortCounters sorts the largest first, and equal ones by key.
func sortCounters(c []Counter) {
	slices.SortFunc(c, func(a, b Counter) int {
		switch {
		case a.Count != b.Count:
			if a.Count > b.Count {
				return -1
			}
			return 1
		case a.Key.Address != b.Key.Address:
			if a.Key.Address.less(b.Key.Address) {
				return -1
			}
			return 1
		}
		return int(int64(a.Key.Number) - int64(b.Key.Number))
	})
}
