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
// Counters are found through a hash table with open addressing. The smallest is
// found through a binary heap that is brought up to date only when it is asked
// for: counts only grow, so a heap of what they once were never puts one too
// low, and its root is the smallest as soon as it is up to date. Adding to a
// key that is counted takes constant time, any other key O(log k) on average.
// Nothing is allocated.
type spaceSaving struct {
	seed     maphash.Seed
	counters []slotCounter
	heap     []heapItem
	index    []uint32 // number of a counter + 1; 0 is empty
	k        int
	total    uint64
}

type slotCounter struct {
	Counter
	slot uint32 // in index
	hash uint32
}

// heapItem is what a counter was when the heap last looked at it.
type heapItem struct {
	count uint64
	n     uint32 // number of the counter
}

func newSpaceSaving(k int) *spaceSaving {
	return &spaceSaving{
		seed: maphash.MakeSeed(), counters: make([]slotCounter, 0, k), heap: make([]heapItem, 0, k),
		index: make([]uint32, indexLength(k)), k: k,
	}
}

// indexLength is the power of two that keeps the index at most half full.
func indexLength(k int) int { return max(16, 1<<bits.Len(uint(2*k-1))) }

// reset empties the list and keeps its memory.
func (s *spaceSaving) reset() {
	s.counters, s.heap, s.total = s.counters[:0], s.heap[:0], 0
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
		if c := &s.counters[s.index[i]-1]; c.hash == hash && c.Key == key {
			c.Count = sum(c.Count, weight)
			return
		}
	}
	if n := len(s.counters); n < s.k {
		s.counters = append(s.counters, slotCounter{Counter{key, weight, 0}, i, hash})
		s.index[i] = uint32(n + 1)
		s.heap = append(s.heap, heapItem{weight, uint32(n)})
		s.up(n)
		return
	}
	least := s.least()
	n := s.heap[0].n
	s.unlink(s.counters[n].slot)
	for i = hash & mask; s.index[i] != 0; i = (i + 1) & mask {
	}
	s.counters[n] = slotCounter{Counter{key, sum(least, weight), least}, i, hash}
	s.index[i] = n + 1
	s.heap[0].count = s.counters[n].Count
	s.down()
}

// least is the most that a key can have that is not in the list. It brings
// the root of the heap up to date.
func (s *spaceSaving) least() uint64 {
	if len(s.counters) < s.k {
		return 0
	}
	for {
		root := &s.heap[0]
		now := s.counters[root.n].Count
		if root.count == now {
			return now
		}
		root.count = now
		s.down()
	}
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

// up moves the item at position at towards the root.
func (s *spaceSaving) up(at int) {
	item := s.heap[at]
	for at > 0 {
		parent := (at - 1) / 2
		if s.heap[parent].count <= item.count {
			break
		}
		s.heap[at] = s.heap[parent]
		at = parent
	}
	s.heap[at] = item
}

// down moves the root to where it belongs.
func (s *spaceSaving) down() {
	item, at := s.heap[0], 0
	for {
		child := 2*at + 1
		if child >= len(s.heap) {
			break
		}
		if child+1 < len(s.heap) && s.heap[child+1].count < s.heap[child].count {
			child++
		}
		if s.heap[child].count >= item.count {
			break
		}
		s.heap[at] = s.heap[child]
		at = child
	}
	s.heap[at] = item
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
