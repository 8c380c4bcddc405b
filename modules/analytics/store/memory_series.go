package store

import (
	"bytes"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// samplesPerChunk is as in the TSDB: compressed well, and cheap to decode the last of.
const samplesPerChunk = 120

// maxChunkBytes cuts chunks of large histograms early.
const maxChunkBytes = 1024

// memSeries is one series as a list of compressed chunks. Within a chunk time only rises;
// a sample from before the last one (a clock was set back) begins a new chunk, and readers
// merge.
type memSeries struct {
	id  storage.SeriesRef
	ls  labels.Labels
	met string // the metric's name

	mu     sync.Mutex
	chunks []*memChunk // in the order in which they were begun
	app    chunkenc.Appender
	last   int64 // time of the newest sample
	lastV  float64
	gone   bool // no longer in the index
	// samples and bytes of all chunks, without the overhead of the series itself.
	samples int
	bytes   int64
}

type memChunk struct {
	chunk    chunkenc.Chunk
	min, max int64
}

// seriesOverhead is about what a series takes beside its samples and labels.
const seriesOverhead = 400

// point is a sample on its way in.
type point struct {
	st, t int64
	v     float64
	h     *histogram.Histogram
	fh    *histogram.FloatHistogram
}

func (p *point) kind() chunkenc.ValueType {
	switch {
	case p.fh != nil:
		return chunkenc.ValFloatHistogram
	case p.h != nil:
		return chunkenc.ValHistogram
	}
	return chunkenc.ValFloat
}

// append adds p and returns by how much the series grew. At most limit samples are kept;
// the oldest chunk goes first. s.mu is held.
func (s *memSeries) append(p *point, limit int) (grown int64, err error) {
	before := s.bytes
	head := s.head()
	enc := p.kind().ChunkEncoding(false, false)
	full := min(samplesPerChunk, max(1, limit/8))
	var prev chunkenc.Appender // tells a new chunk of histograms whether a counter was reset
	if head == nil || s.app == nil || p.t <= head.max || head.chunk.Encoding() != enc ||
		head.chunk.NumSamples() >= full || len(head.chunk.Bytes()) >= maxChunkBytes {
		prev = s.app
		if err := s.cut(enc); err != nil {
			return 0, err
		}
		head = s.head()
		head.min = p.t
	}
	size := int64(len(head.chunk.Bytes()))
	var fresh chunkenc.Chunk
	var recoded bool
	switch {
	case p.fh != nil:
		fresh, recoded, s.app, err = s.app.AppendFloatHistogram(prev, p.st, p.t, p.fh, false)
	case p.h != nil:
		fresh, recoded, s.app, err = s.app.AppendHistogram(prev, p.st, p.t, p.h, false)
	default:
		s.app.Append(p.st, p.t, p.v)
	}
	if err != nil {
		return 0, err
	}
	switch {
	case fresh == nil:
	case recoded:
		head.chunk = fresh
	default: // the histogram's layout changed
		s.bytes += int64(len(head.chunk.Bytes())) - size
		head = &memChunk{chunk: fresh, min: p.t}
		s.chunks = append(s.chunks, head)
		size = 0
	}
	head.max = p.t
	s.bytes += int64(len(head.chunk.Bytes())) - size
	s.samples++
	if p.t >= s.last || s.samples == 1 {
		s.last, s.lastV = p.t, p.v
	}
	for s.samples > limit && len(s.chunks) > 1 {
		s.drop(0)
	}
	return s.bytes - before, nil
}

// cut begins a new chunk.
func (s *memSeries) cut(enc chunkenc.Encoding) error {
	c, err := chunkenc.NewEmptyChunk(enc)
	if err != nil {
		return err
	}
	app, err := c.Appender()
	if err != nil {
		return err
	}
	if old := s.head(); old != nil {
		size := len(old.chunk.Bytes())
		old.chunk.Compact()
		s.bytes += int64(len(old.chunk.Bytes()) - size)
	}
	s.app = app
	s.chunks = append(s.chunks, &memChunk{chunk: c})
	s.bytes += int64(len(c.Bytes()))
	return nil
}

func (s *memSeries) head() *memChunk {
	if len(s.chunks) == 0 {
		return nil
	}
	return s.chunks[len(s.chunks)-1]
}

func (s *memSeries) drop(i int) {
	s.samples -= s.chunks[i].chunk.NumSamples()
	s.bytes -= int64(len(s.chunks[i].chunk.Bytes()))
	s.chunks = slices.Delete(s.chunks, i, i+1)
}

// expire drops chunks that end before t and says by how much the series shrank. s.mu is held.
func (s *memSeries) expire(t int64) int64 {
	before := s.bytes
	for i := len(s.chunks) - 1; i >= 0; i-- {
		if s.chunks[i].max < t {
			if i == len(s.chunks)-1 {
				s.app = nil
			}
			s.drop(i)
		}
	}
	return before - s.bytes
}

// oldest is the time of the first sample. s.mu is held.
func (s *memSeries) oldest() (int64, bool) {
	if len(s.chunks) == 0 {
		return 0, false
	}
	t := s.chunks[0].min
	for _, c := range s.chunks[1:] {
		t = min(t, c.min)
	}
	return t, true
}

// iterator reads what is there now between mint and maxt, and what is beside it in the same
// chunks: PromQL looks at times itself.
func (s *memSeries) iterator(mint, maxt int64) chunkenc.Iterator {
	s.mu.Lock()
	var parts []chunkenc.Iterator
	var err error
	for i, c := range s.chunks {
		if c.max < mint || c.min > maxt {
			continue
		}
		chunk := c.chunk
		if i == len(s.chunks)-1 {
			// Appends go on in this one, so the reader gets a copy.
			if chunk, err = chunkenc.FromData(chunk.Encoding(), bytes.Clone(chunk.Bytes())); err != nil {
				break
			}
		}
		parts = append(parts, chunk.Iterator(nil))
	}
	s.mu.Unlock()
	switch {
	case err != nil:
		return failedIterator{chunkenc.NewNopIterator(), err}
	case len(parts) == 0:
		return chunkenc.NewNopIterator()
	}
	return storage.ChainSampleIteratorFromIterators(nil, parts)
}

// failedIterator tells why there is nothing.
type failedIterator struct {
	chunkenc.Iterator
	err error
}

func (f failedIterator) Err() error { return f.err }
