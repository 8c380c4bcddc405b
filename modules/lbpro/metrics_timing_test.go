package lbpro

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// What a request pays for being counted: the backend's part and the clients' part.
func BenchmarkObserve(b *testing.B) {
	b.Run("histograms", func(b *testing.B) { // one for the first byte, one for the whole answer
		o := newObservers()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				o.first.observe(12 * time.Millisecond)
				o.whole.observe(12 * time.Millisecond)
			}
		})
	})
	b.Run("figures", func(b *testing.B) { // what rates and quantiles of a minute need
		o := newObservers()
		c := new(clients)
		q := &request{client: b.Context()}
		q.trip.answered, q.trip.status, q.trip.ended = true, http.StatusOK, 12*time.Millisecond
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				o.recent.record(12 * time.Millisecond)
				o.timed.Add(1)
				o.took.Add(1)
				c.ended(q, nil)
			}
		})
	})
}

// What a gathering of the metrics costs, and a second's step of the rates.
func BenchmarkFigures(b *testing.B) {
	for _, n := range []int{8, 1000} {
		p, err := acquirePool(fmt.Sprint("bench", n), balance.DefaultOptions())
		if err != nil {
			b.Fatal(err)
		}
		for i := range n {
			p.join(fmt.Sprint("10.0.0.", i, ":80"))
		}
		b.Run(fmt.Sprintf("view/%d", n), func(b *testing.B) {
			for b.Loop() {
				p.figures(clock())
			}
		})
		b.Run(fmt.Sprintf("measure/%d", n), func(b *testing.B) {
			now := clock()
			for b.Loop() {
				now += time.Second
				p.measure(now)
			}
		})
		b.Run(fmt.Sprintf("judge/%d", n), func(b *testing.B) { // holds up Tick for as long
			for b.Loop() {
				p.View(clock())
			}
		})
		for i := range n {
			p.leave(fmt.Sprint("10.0.0.", i, ":80"))
		}
		releasePool(p.Name)
	}
}
