package analytics

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	jsoniter "github.com/json-iterator/go"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// nowhere is a client that reads everything and keeps nothing.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header       { return n.header }
func (nowhere) WriteHeader(int)             {}
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func matrixOfSize(series, points int) (m promql.Matrix) {
	for s := range series {
		x := promql.Series{Metric: labels.FromStrings("__name__", "caddy_lbpro_backend_requests_total", "backend", fmt.Sprintf("10.0.0.%d:8080", s), "pool", "app")}
		for p := range points {
			x.Floats = append(x.Floats, promql.FPoint{T: 1777636800000 + int64(p)*15000, F: float64(s*p) / 7})
		}
		m = append(m, x)
	}
	return m
}

// BenchmarkMatrix encodes the answer of a range query of 100 series with 1,000 points each,
// as it is done here and by the marshalers of Prometheus' own types.
func BenchmarkMatrix(b *testing.B) {
	m := matrixOfSize(100, 1000)
	b.Run("api", func(b *testing.B) {
		b.ReportAllocs()
		c := &call{w: nowhere{make(http.Header)}, r: httptest.NewRequest("GET", "/", nil)}
		for b.Loop() {
			if err := c.writeResult(parser.ValueTypeMatrix, nil, func(s *jsoniter.Stream) { writeMatrix(s, m) }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding_json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(m); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkFindResource finds the last of the resources.
func BenchmarkFindResource(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := findResource("v1/status/buildinfo"); err != nil {
			b.Fatal(err)
		}
	}
}
