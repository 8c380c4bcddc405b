package store_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// benchAppend appends to 1,000 series and commits, as a scrape does.
func benchAppend(b *testing.B, s store.Store) {
	const series = 1000
	lss := make([]labels.Labels, series)
	refs := make([]storage.SeriesRef, series)
	for k := range series {
		lss[k] = labels.FromStrings("__name__", "caddy_bench_total", "pool", "a", "backend", fmt.Sprintf("10.0.0.%d:8080", k), "instance", "here", "job", "registry")
	}
	at := time.Now().Add(-30 * time.Minute)
	i := 0
	for b.Loop() {
		i++
		app := s.AppenderV2(b.Context())
		for k := range series {
			var err error
			if refs[k], err = app.Append(refs[k], lss[k], 0, at.UnixMilli()+int64(i), float64(i*k), nil, nil, storage.AOptions{}); err != nil {
				b.Fatal(err)
			}
		}
		if err := app.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/series, "ns/sample")
}

func BenchmarkAppendMemory(b *testing.B) {
	s := store.NewMemory(store.MemoryOptions{})
	defer s.Close()
	benchAppend(b, s)
}

func BenchmarkAppendTSDB(b *testing.B) {
	s, err := store.OpenTSDB(store.TSDBOptions{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	benchAppend(b, s)
}

func BenchmarkAppendQueue(b *testing.B) {
	s, err := store.OpenRemote(store.RemoteOptions{URL: "http://127.0.0.1:1", Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	benchAppend(b, s)
	b.StopTimer()
	_ = s.Close()
}

// BenchmarkMemoryPerSeries tells what a series with 1,000 samples takes: half of them
// counters, half of them noise.
func BenchmarkMemoryPerSeries(b *testing.B) {
	const series, samples = 1000, 1000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s := store.NewMemory(store.MemoryOptions{})
		at := time.Now().Add(-6 * time.Hour)
		for i := range samples {
			app := s.AppenderV2(b.Context())
			for k := range series {
				v := float64(i * k)
				if k%2 == 0 {
					v = rand.Float64()
				}
				ls := labels.FromStrings("__name__", "caddy_bench_total", "pool", "a", "backend", fmt.Sprintf("10.0.0.%d:8080", k))
				if _, err := app.Append(0, ls, 0, at.Add(time.Duration(i)*20*time.Second).UnixMilli(), v, nil, nil, storage.AOptions{}); err != nil {
					b.Fatal(err)
				}
			}
			if err := app.Commit(); err != nil {
				b.Fatal(err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/series, "B/series")
		b.ReportMetric(float64(s.Status().Bytes)/series, "told-B/series")
		_ = s.Close()
	}
}
