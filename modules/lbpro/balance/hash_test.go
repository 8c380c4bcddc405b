package balance

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// hashing returns the policies that place by key, made anew.
func hashing() map[string]func() Picker {
	return map[string]func() Picker{
		"maglev":       func() Picker { return new(Maglev) },
		"bounded_hash": func() Picker { return &BoundedHash{Factor: math.Inf(1)} },
	}
}

// placement returns where each of n keys goes, by ID.
func placement(p Picker, list []*Backend, n int) []string {
	ids := make([]string, n)
	c := new(Choice)
	for key := range ids {
		c.Key = uint64(key)
		ids[key] = list[p.Pick(list, c)].ID
	}
	return ids
}

const hashKeys = 20000

// moved counts the keys that went elsewhere, and those of them that had neither been at
// nor gone to the backend with the id.
func moved(before, after []string, id string) (all, needless int) {
	for key := range before {
		if before[key] != after[key] {
			all++
			if before[key] != id && after[key] != id {
				needless++
			}
		}
	}
	return all, needless
}

func TestHashingIsTheSameInAnyOrderAndEverywhere(t *testing.T) {
	for name, make := range hashing() {
		p := poolOf(30)
		list := p.Backends()
		want := placement(prepared(make(), list), list, hashKeys)
		shuffled := slices.Clone(poolOf(30).Backends())
		rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if all, _ := moved(want, placement(prepared(make(), shuffled), shuffled, hashKeys), ""); all != 0 {
			t.Errorf("%s: %d of %d keys go elsewhere in a balancer that lists the backends in another order", name, all, hashKeys)
		}
	}
}

func TestHashingMovesLittleWhenOneLeaves(t *testing.T) {
	for name, make := range hashing() {
		list := poolOf(20).Backends()
		gone := list[7].ID
		before := placement(prepared(make(), list), list, hashKeys)
		rest := slices.Delete(slices.Clone(list), 7, 8)
		after := placement(prepared(make(), rest), rest, hashKeys)
		all, needless := moved(before, after, gone)
		if all < hashKeys/20*8/10 {
			t.Errorf("%s: only %d keys moved, the backend had a twentieth", name, all)
		}
		// Rendezvous moves nothing else; Maglev's table trades that for even shares.
		limit := 0
		if name == "maglev" {
			limit = hashKeys * 3 / 100
		}
		if needless > limit {
			t.Errorf("%s: %d keys of others moved, want at most %d", name, needless, limit)
		}
	}
}

func TestHashingMovesOnlyTheKeysOfOneThatCannotServe(t *testing.T) {
	for name, make := range hashing() {
		list := poolOf(20).Backends()
		pick := prepared(make(), list)
		before := placement(pick, list, hashKeys)
		list[3].state.Store(uint32(Ejected))
		after := placement(pick, list, hashKeys)
		if _, needless := moved(before, after, list[3].ID); needless != 0 {
			t.Errorf("%s: %d keys of others moved", name, needless)
		}
		got := counts(after, list)
		for i, n := range got {
			if want := hashKeys / 19; i != 3 && math.Abs(float64(n-want)) > 0.25*float64(want) {
				t.Errorf("%s: backend %d has %d keys afterwards, want about %d", name, i, n, want)
			}
		}
		list[3].state.Store(uint32(Serving))
		if all, _ := moved(before, placement(pick, list, hashKeys), ""); all != 0 {
			t.Errorf("%s: %d keys did not come back", name, all)
		}
	}
}

func counts(placed []string, list []*Backend) []int {
	at := make(map[string]int)
	for i, b := range list {
		at[b.ID] = i
	}
	n := make([]int, len(list))
	for _, id := range placed {
		n[at[id]]++
	}
	return n
}

// A backend in slow start takes a part of its keys, the same ones each time, and more of
// them later; the others keep theirs.
func TestHashingThinsOutInSlowStart(t *testing.T) {
	for name, make := range hashing() {
		list := poolOf(10).Backends()
		pick := prepared(make(), list)
		full := placement(pick, list, hashKeys)
		var last []string
		lastN := 0
		for _, share := range []float64{0.1, 0.4, 0.8} {
			storeFloat(&list[2].weight, share)
			now := placement(pick, list, hashKeys)
			if _, needless := moved(full, now, list[2].ID); needless != 0 {
				t.Fatalf("%s: at share %v %d keys of others moved", name, share, needless)
			}
			n := counts(now, list)[2]
			if want := share * float64(counts(full, list)[2]); math.Abs(float64(n)-want) > 0.1*want+60 {
				t.Errorf("%s: at share %v it has %d keys, want about %.0f", name, share, n, want)
			}
			if last != nil {
				if all, _ := moved(last, now, ""); all != n-lastN {
					t.Errorf("%s: %d keys moved when %d came back", name, all, n-lastN)
				}
			}
			last, lastN = now, n
		}
	}
}

// A change of an operator's weight moves keys to or from that backend only.
func TestRendezvousWeightMovesOnlyItsOwn(t *testing.T) {
	p := poolOf(10)
	list := p.Backends()
	h := &BoundedHash{Factor: math.Inf(1)}
	h.Prepare(list)
	before := placement(h, list, hashKeys)
	list[4].SetWeight(3, 0)
	h.Prepare(list)
	after := placement(h, list, hashKeys)
	if _, needless := moved(before, after, list[4].ID); needless != 0 {
		t.Errorf("%d keys of others moved", needless)
	}
	if n := counts(after, list)[4]; math.Abs(float64(n)-hashKeys*0.25) > hashKeys*0.02 {
		t.Errorf("weight 3 of 12 has %d of %d keys", n, hashKeys)
	}
}

// What the table remembers is what the definition says.
func TestRendezvousTableHoldsTheBest(t *testing.T) {
	list := poolOf(40, 1, 5, 0.2, 0, 7).Backends()
	h := new(BoundedHash).build(list, nil)
	for kind := range uint64(2000) {
		type ranked struct {
			member int
			cost   float64
		}
		var all []ranked
		for m, w := range h.base {
			if w > 0 {
				all = append(all, ranked{m, -math.Log(unit(mix(kind^h.seed[m]))) / w})
			}
		}
		slices.SortFunc(all, func(x, y ranked) int {
			if x.cost < y.cost {
				return -1
			}
			return 1
		})
		words := h.ranked(kind)
		if again := h.ranked(kind); again != words {
			t.Fatalf("kind %d: remembered %x, worked out %x", kind, again, words)
		}
		for k := range ranks {
			if got := int(words[k/perWord]>>(k%perWord*16)&0xffff) - 1; got != all[k].member {
				t.Fatalf("kind %d: rank %d is member %d, want %d", kind, k, got, all[k].member)
			}
		}
	}
}

// One hot key must not bring any backend above its bound.
func TestBoundHoldsForAHotKey(t *testing.T) {
	for _, n := range []int{3, 10, 40} {
		p := poolOf(n, 1, 2)
		list := p.Backends()
		h := new(BoundedHash)
		h.Prepare(list)
		total := float64(n + 1)
		for k := 1; k <= 40*n; k++ {
			p.Enter()
			i := h.Pick(list, &Choice{Key: 42})
			list[i].inflight.Add(1)
			limit := math.Ceil(loadFactor * float64(k) * list[i].Weight() / total)
			if got := float64(list[i].InFlight()); got > limit {
				t.Fatalf("%d backends, %d requests: %d has %v in flight, the bound is %v", n, k, i, got, limit)
			}
		}
	}
}

// Without load every request of a key goes to its best, so that caches stay warm.
func TestBoundLeavesAnIdlePoolAlone(t *testing.T) {
	p := poolOf(12)
	h := new(BoundedHash)
	h.Prepare(p.Backends())
	p.Enter()
	for key := range uint64(300) {
		first := h.Pick(p.Backends(), &Choice{Key: key})
		for range 5 {
			if i := h.Pick(p.Backends(), &Choice{Key: key}); i != first {
				t.Fatalf("key %d went to %d and to %d", key, first, i)
			}
		}
	}
}

func TestMaglevSharesAreExact(t *testing.T) {
	list := poolOf(7, 1, 2, 3, 0.5, 1, 1, 4).Backends()
	m := new(Maglev)
	m.Prepare(list)
	n := make(map[int32]int)
	for _, s := range m.table.get().slots {
		n[s]++
	}
	for i, w := range m.table.get().base {
		want := MaglevSize * w / 12.5
		if got := float64(n[int32(i)]); math.Abs(got-want) > 0.001*MaglevSize {
			t.Errorf("weight %v has %v slots, want %.0f", w, got, want)
		}
	}
}

// The table follows membership and weights by itself, on a goroutine that ends.
func TestTablesAreRemadeInTheBackground(t *testing.T) {
	defer goleak.VerifyNone(t)
	for name, make := range hashing() {
		p := poolOf(5)
		pick := make()
		c := new(Choice)
		until := func(what string, ok func() bool) {
			t.Helper()
			for range 1000 {
				if ok() {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
			t.Fatalf("%s: %s", name, what)
		}
		share := func(i int) float64 {
			n := 0
			for key := range uint64(1000) {
				c.Key = key
				if pick.Pick(p.Backends(), c) == i {
					n++
				}
			}
			return float64(n) / 1000
		}
		until("backend 0 does not get a fifth", func() bool { return math.Abs(share(0)-0.2) < 0.06 })
		p.Join("10.2.0.1:80", 0)
		until("a backend that joined gets nothing", func() bool { return math.Abs(share(5)-1.0/6) < 0.06 })
		p.Backends()[5].SetWeight(5, 0)
		until("a weight that was raised changes nothing", func() bool { return math.Abs(share(5)-0.5) < 0.06 })
		p.Leave("10.2.0.1:80")
		until("the others do not take over", func() bool { return math.Abs(share(0)-0.2) < 0.06 })
	}
}
