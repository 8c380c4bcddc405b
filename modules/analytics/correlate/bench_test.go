package correlate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
)

// mixedColumns draws series of all the core processes in turn.
func mixedColumns(rng *rand.Rand, series, n int) [][]float64 {
	columns := make([][]float64, series)
	for i := range columns {
		columns[i] = coreProcesses[i%len(coreProcesses)].draw(rng, regularly(n))
	}
	return columns
}

func benchAnalysis(b *testing.B, series, n int, o Options) *Analysis {
	b.Helper()
	o.Workers = 1
	a, err := Prepare(context.Background(), plainFrame(mixedColumns(rand.New(rand.NewPCG(1, 1)), series, n)...), o)
	if err != nil {
		b.Fatal(err)
	}
	return a
}

// BenchmarkPrepare whitens 100 series of 1,000 cells on one core.
func BenchmarkPrepare100x1000(b *testing.B) {
	for _, missing := range []float64{0, .2} {
		b.Run(fmt.Sprintf("missing=%g", missing), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			columns := mixedColumns(rng, 100, 1000)
			for _, c := range columns {
				punch(rng, c, missing)
			}
			f := plainFrame(columns...)
			for b.Loop() {
				if _, err := Prepare(context.Background(), f, Options{Workers: 1}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTarget tests a target against 1,000 candidates over ±60 lags, 1,000
// cells, on one core.
func BenchmarkTarget1000(b *testing.B) {
	a := benchAnalysis(b, 1001, 1000, Options{MaxSeries: 1001, Target: "s0"})
	for b.Loop() {
		if _, err := a.Lagged(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMatrix correlates 1,000 series of 1,000 cells at lag 0 on one core.
func BenchmarkMatrix1000x1000(b *testing.B) {
	a := benchAnalysis(b, 1000, 1000, Options{})
	for b.Loop() {
		if _, err := a.Matrix(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLive ticks 1,000 series, whitening included.
func BenchmarkLive1000(b *testing.B) {
	columns := mixedColumns(rand.New(rand.NewPCG(1, 1)), 1000, 1000)
	f := plainFrame(columns...)
	a, err := Prepare(context.Background(), f, Options{})
	if err != nil {
		b.Fatal(err)
	}
	l, err := NewLive(a, f)
	if err != nil {
		b.Fatal(err)
	}
	values := make([]float64, 1000)
	t := 0
	b.ReportAllocs()
	for b.Loop() {
		for i, c := range columns {
			values[i] = c[t%1000]
		}
		t++
		l.Tick(values)
	}
}

// BenchmarkCluster orders 1,000 series.
func BenchmarkCluster1000(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	d := make([]float64, 1e6)
	for i := range d {
		d[i] = rng.Float64()
	}
	for b.Loop() {
		Cluster(1000, func(i, j int) float64 { return d[i*1000+j] })
	}
}
