package balance

import (
	"fmt"
	"testing"
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
	{"old", func() Picker { return oldAdaptive{} }},
	{"adaptive", func() Picker { return Adaptive{} }},
}

// BenchmarkPick measures one choice. Run it with -cpu 2.
func BenchmarkPick(b *testing.B) {
	for _, n := range []int{2, 8, 48, 1000} {
		p := benchPool(n)
		list := p.Backends()
		for _, pol := range benchPolicies {
			b.Run(fmt.Sprintf("policy=%s/backends=%d", pol.name, n), func(b *testing.B) {
				picker := pol.make()
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
