package flow

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// exact counts a stream the long way.
type exact map[Key]uint64

func (e exact) total() (n uint64) {
	for _, c := range e {
		n += c
	}
	return n
}

// checkBounds holds a list to its promises: true counts lie within the error,
// what is not in it is below least, and least is at most total/k.
func checkBounds(t *testing.T, k int, list []Counter, least, total uint64, truth exact) {
	t.Helper()
	if total != truth.total() {
		t.Errorf("total %d, want %d", total, truth.total())
	}
	if least > total/uint64(k) {
		t.Errorf("keys not in the list may have %d, over 1/%d of %d", least, k, total)
	}
	listed := map[Key]bool{}
	for _, c := range list {
		if listed[c.Key] {
			t.Fatalf("%v is in the list twice", c.Key)
		}
		listed[c.Key] = true
		if n := truth[c.Key]; n > c.Count || n < c.Count-c.Error || c.Error > c.Count {
			t.Fatalf("%v has %d, the list says %d with an error of %d", c.Key, n, c.Count, c.Error)
		}
	}
	for key, n := range truth {
		if !listed[key] && n > least {
			t.Fatalf("%v has %d and is not in the list, in which keys with over %d are", key, n, least)
		}
	}
}

func zipfStream(seed uint64, keys, n int, add func(Key, uint64)) {
	r := rand.New(rand.NewPCG(seed, 9))
	z := rand.NewZipf(r, 1.2, 1, uint64(keys-1))
	for range n {
		add(Key{Number: uint32(z.Uint64())}, 1+r.Uint64N(1500))
	}
}

func TestSpaceSaving(t *testing.T) {
	for _, k := range []int{1, 2, 10, 100, 1000} {
		for _, keys := range []int{5, 1000, 100_000} {
			s := newSpaceSaving(k)
			truth := exact{}
			zipfStream(uint64(k), keys, 50_000, func(key Key, weight uint64) {
				s.add(key, weight)
				truth[key] += weight
			})
			sum := s.summary()
			checkBounds(t, k, sum.counters, sum.least, sum.total, truth)
			if keys <= k && (sum.least != 0 || len(sum.counters) != len(truth)) {
				t.Errorf("k %d: %d keys are not counted exactly", k, keys)
			}
			s.reset()
			if sum := s.summary(); len(sum.counters) != 0 || sum.total != 0 || sum.least != 0 {
				t.Errorf("after reset: %+v", sum)
			}
			s.add(Key{Number: 7}, 3)
			if sum := s.summary(); len(sum.counters) != 1 || sum.counters[0].Count != 3 {
				t.Errorf("after reset and one key: %+v", sum)
			}
		}
	}
}

// On a skewed stream the heaviest keys come out in order.
func TestSpaceSavingFindsHeavyHitters(t *testing.T) {
	s := newSpaceSaving(1000)
	truth := exact{}
	zipfStream(3, 200_000, 500_000, func(key Key, weight uint64) {
		s.add(key, weight)
		truth[key] += weight
	})
	list := s.summary().counters
	sortCounters(list)
	keys := make([]Key, 0, len(truth))
	for key := range truth {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b Key) int { return cmp.Compare(truth[b], truth[a]) })
	for i := range 50 {
		if list[i].Key != keys[i] {
			t.Errorf("place %d is %v, should be %v", i, list[i].Key, keys[i])
		}
	}
}

func TestMergeSummaries(t *testing.T) {
	const k = 100
	for _, parts := range []int{1, 2, 22} {
		truth := exact{}
		var summaries []*topSummary
		for i := range parts {
			s := newSpaceSaving(k)
			zipfStream(uint64(i), 5000, 10_000, func(key Key, weight uint64) {
				key.Number += uint32(i % 3 * 50) // lists that differ
				s.add(key, weight)
				truth[key] += weight
			})
			summaries = append(summaries, s.summary())
		}
		m := mergeSummaries(k, summaries)
		if len(m.counters) > k {
			t.Errorf("%d counters", len(m.counters))
		}
		if !slices.IsSortedFunc(m.counters, func(a, b Counter) int { return cmp.Compare(b.Count, a.Count) }) {
			t.Error("not sorted")
		}
		checkBounds(t, k/2, m.counters, m.least, m.total, truth) // merging once at most doubles the bound
	}
	if m := mergeSummaries(k, nil); m.total != 0 || len(m.counters) != 0 {
		t.Errorf("of nothing: %+v", m)
	}
}

func TestSpaceSavingAllocatesNothing(t *testing.T) {
	s := newSpaceSaving(100)
	i := uint32(0)
	if n := testing.AllocsPerRun(10_000, func() { s.add(Key{Number: i % 1000}, uint64(i)); i++ }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSpaceSaving(b *testing.B) {
	for name, keys := range map[string]int{"skewed": 100_000, "few": 100} {
		b.Run(name, func(b *testing.B) {
			var stream []Key
			zipfStream(1, keys, 1<<16, func(key Key, _ uint64) { stream = append(stream, key) })
			s := newSpaceSaving(1000)
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				s.add(stream[i&(1<<16-1)], 1000)
				i++
			}
		})
	}
}
