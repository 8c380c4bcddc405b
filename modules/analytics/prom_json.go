package analytics

import (
	"encoding/json"
	"net/http"

	jsoniter "github.com/json-iterator/go"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/prometheus/prometheus/util/jsonutil"
)

// Answers in the JSON of Prometheus' HTTP API. Samples are written as they are encoded,
// so that an answer is not in memory a second time.

const (
	chunkBytes   = 64 << 10
	mostWarnings = 10
)

// writeProm sends an answer that is no result of a query.
func (c *call) writeProm(data any, notes annotations.Annotations, query string) error {
	body, err := json.Marshal(data)
	if err != nil {
		return &promError{http.StatusInternalServerError, promInternal, err}
	}
	return c.envelope(notes, query, func(s *jsoniter.Stream) { s.WriteRaw(string(body)) })
}

// writeResult sends the result of a query.
func (c *call) writeResult(kind parser.ValueType, notes annotations.Annotations, result func(*jsoniter.Stream)) error {
	return c.envelope(notes, c.get("query"), func(s *jsoniter.Stream) {
		s.WriteRaw(`{"resultType":"` + string(kind) + `","result":`)
		result(s)
		s.WriteObjectEnd()
	})
}

func (c *call) envelope(notes annotations.Annotations, query string, data func(*jsoniter.Stream)) error {
	c.w.Header().Set("Content-Type", "application/json")
	s := jsoniter.NewStream(jsoniter.ConfigCompatibleWithStandardLibrary, c.w, chunkBytes)
	s.WriteRaw(`{"status":"success","data":`)
	data(s)
	warnings, infos := notes.AsStrings(query, mostWarnings, mostWarnings)
	for i, texts := range [][]string{warnings, infos} {
		if len(texts) > 0 {
			s.WriteMore()
			s.WriteObjectField([]string{"warnings", "infos"}[i])
			s.WriteVal(texts)
		}
	}
	s.WriteObjectEnd()
	s.WriteRaw("\n")
	// A client that does not read its answer is no error of ours.
	_ = s.Flush()
	return nil
}

func writeVector(s *jsoniter.Stream, v promql.Vector) {
	s.WriteArrayStart()
	for i := range v {
		if i > 0 {
			s.WriteMore()
		}
		e := &v[i]
		s.WriteRaw(`{"metric":`)
		writeLabels(s, e.Metric)
		if e.H == nil {
			s.WriteRaw(`,"value":`)
			writePoint(s, promql.FPoint{T: e.T, F: e.F})
		} else {
			s.WriteRaw(`,"histogram":`)
			writeHistogram(s, promql.HPoint{T: e.T, H: e.H})
		}
		s.WriteObjectEnd()
		if !proceed(s) {
			return
		}
	}
	s.WriteArrayEnd()
}

func writeMatrix(s *jsoniter.Stream, m promql.Matrix) {
	s.WriteArrayStart()
	for i := range m {
		if i > 0 {
			s.WriteMore()
		}
		s.WriteRaw(`{"metric":`)
		writeLabels(s, m[i].Metric)
		writePoints(s, `,"values":[`, m[i].Floats, writePoint)
		writePoints(s, `,"histograms":[`, m[i].Histograms, writeHistogram)
		s.WriteObjectEnd()
		if !proceed(s) {
			return
		}
	}
	s.WriteArrayEnd()
}

func writePoints[P any](s *jsoniter.Stream, head string, points []P, write func(*jsoniter.Stream, P)) {
	for i, p := range points {
		if i == 0 {
			s.WriteRaw(head)
		} else {
			s.WriteMore()
		}
		write(s, p)
		if i%1000 == 999 && !proceed(s) {
			return
		}
	}
	if len(points) > 0 {
		s.WriteArrayEnd()
	}
}

// proceed sends what has been encoded when it is enough, and reports whether anybody
// still reads.
func proceed(s *jsoniter.Stream) bool {
	if s.Error == nil && s.Buffered() >= chunkBytes {
		s.Error = s.Flush()
	}
	return s.Error == nil
}

func writePoint(s *jsoniter.Stream, p promql.FPoint) {
	s.WriteArrayStart()
	jsonutil.MarshalTimestamp(p.T, s)
	s.WriteMore()
	jsonutil.MarshalFloat(p.F, s)
	s.WriteArrayEnd()
}

func writeHistogram(s *jsoniter.Stream, p promql.HPoint) {
	s.WriteArrayStart()
	jsonutil.MarshalTimestamp(p.T, s)
	s.WriteMore()
	jsonutil.MarshalHistogram(p.H, s)
	s.WriteArrayEnd()
}

func writeLabels(s *jsoniter.Stream, ls labels.Labels) {
	s.WriteObjectStart()
	first := true
	ls.Range(func(l labels.Label) {
		if !first {
			s.WriteMore()
		}
		first = false
		s.WriteObjectField(l.Name)
		s.WriteString(l.Value)
	})
	s.WriteObjectEnd()
}
