package balance

import (
	"fmt"
	"testing"
	"time"
)

// benchPool returns n backends with some requests in flight each.
func benchPool(n int) *Pool {
	p := NewPool("bench", DefaultOptions())
	for i := range n {
		b := p.Join(fmt.Sprintf("10.0.%d.%d:80", i/256, i%256), 0)
		b.inflight.Add(int64(i % 5))
	}
	p.active.Add(int64(2 * n))
	return p
}

// benchPolicies has every policy that the benchmarks and the common tests go through.
var benchPolicies = []struct {
	name string
	make func() Picker
}{
	{"adaptive", func() Picker { return Adaptive{} }},
	{"p2c", func() Picker { return TwoChoices{} }},
	{"peak_ewma", func() Picker { return PeakEWMA{} }},
	{"least_request", func() Picker { return LeastRequest{} }},
	{"least_time", func() Picker { return LeastTime{} }},
	{"smooth_round_robin", func() Picker { return new(RoundRobin) }},
	{"bounded_hash", func() Picker { return new(BoundedHash) }},
	{"maglev", func() Picker { return new(Maglev) }},
	{"prequal", func() Picker { return new(Prequal) }},
	// With the reports of the three probes that a choice asks for.
	{"prequal_probes", func() Picker {
		q := new(Prequal)
		q.Probe = func(b *Backend) { q.Report(b, int(b.InFlight()), time.Millisecond, 0) }
		return q
	}},
}

// prepare makes the tables of a hashing policy and asks for every kind of key once, so
// that what follows is the steady state.
func prepare(p Picker, list []*Backend) {
	h, ok := p.(interface{ Prepare([]*Backend) })
	if !ok {
		return
	}
	h.Prepare(list)
	for i := range 8 * hashKinds {
		p.Pick(list, &Choice{Key: uint64(i)})
	}
}

// BenchmarkPick measures one choice. Run it with -cpu 2.
func BenchmarkPick(b *testing.B) {
	for _, n := range []int{2, 8, 48, 1000} {
		p := benchPool(n)
		list := p.Backends()
		for _, pol := range benchPolicies {
			b.Run(fmt.Sprintf("policy=%s/backends=%d", pol.name, n), func(b *testing.B) {
				picker := pol.make()
				prepare(picker, list)
				b.ResetTimer()
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					key, c := fastrand(), new(Choice)
					for pb.Next() {
						key = key*0x9e3779b97f4a7c15 + 1
						c.Key = key
						if picker.Pick(list, c) < 0 {
							b.Error("nothing chosen")
							return
						}
					}
				})
			})
		}
	}
}

// BenchmarkTable measures what a change of membership costs off the request path, and,
// for bounded_hash, what the first request of a kind pays.
func BenchmarkTable(b *testing.B) {
	list := benchPool(1000).Backends()
	b.Run("maglev", func(b *testing.B) {
		for b.Loop() {
			new(Maglev).Prepare(list)
		}
	})
	b.Run("bounded_hash", func(b *testing.B) {
		for b.Loop() {
			new(BoundedHash).Prepare(list)
		}
	})
	b.Run("bounded_hash/kind", func(b *testing.B) {
		t := new(BoundedHash).build(list, nil)
		for kind := uint64(0); b.Loop(); kind++ {
			t.rank(kind % hashKinds)
		}
	})
}
