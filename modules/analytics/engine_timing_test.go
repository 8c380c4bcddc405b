package analytics

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// What a second costs at 1 s, by parts: collecting is the source's; this is evaluating all
// signals of a balancer with 20 backends, which has about 1,600 series, and handing the
// analyses their frame.
func BenchmarkEngine(b *testing.B) {
	var backends strings.Builder
	for i := range 20 {
		fmt.Fprintf(&backends, " 127.0.0.1:%d", 9+i)
	}
	startAPICaddy(b, "\tanalytics {\n\t\tcollect_interval 1s\n\t\tstore memory\n\t}", "\tlbpro"+backends.String())
	a := runningApp(b)
	until(b, "five collections", func() bool { return pipelineNamed(b, a, pipelineBalancer).Runs >= 5 })
	series := a.StatusReport().Store.Series
	b.Run("evaluate", func(b *testing.B) {
		for b.Loop() {
			for _, g := range a.engine.groups {
				g.evaluate(b.Context(), a.Store(), time.Now())
			}
		}
		b.ReportMetric(float64(series), "stored-series")
	})
	b.Run("frame", func(b *testing.B) {
		for b.Loop() {
			now := time.Now()
			if _, infos := a.engine.frame(now.Add(-analysisPoints*time.Second), now); len(infos) == 0 {
				b.Fatal("no series")
			}
		}
	})
}
