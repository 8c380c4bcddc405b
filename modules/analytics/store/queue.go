package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

// queue is a list of records on disk: what is pushed survives the end of the process, and
// is read until it is acknowledged. It is a log as the TSDB has one, read like that by one
// reader. (The TSDB's own shipping to a remote store begins with the time of its start, and
// so forgets what the last process could not send.)
type queue struct {
	dir    string
	max    int64
	logger *slog.Logger
	wake   chan struct{} // has an element after a push

	mu      sync.Mutex
	wal     *wlog.WL
	first   int // segments before this one are gone
	last    int
	parts   map[int]*queuePart
	samples int   // waiting
	bytes   int64 // on disk
	dropped uint64
}

// queuePart is a segment of the log.
type queuePart struct {
	samples int // not acknowledged
	bytes   int64
}

// queueRecord is one record with its place.
type queueRecord struct {
	place   queuePlace
	samples int
	payload []byte
}

// queuePlace is where reading goes on.
type queuePlace struct {
	Segment int `json:"segment"`
	Records int `json:"records"` // of the segment, that are done
}

const (
	queuePage     = 32 << 10
	queuePosition = "position"
)

// openQueue opens a queue of at most max bytes and says what of it was lost.
func openQueue(dir string, limit int64, logger *slog.Logger) (q *queue, r *queueReader, notes []string, err error) {
	segment := min(limit/8, 8<<20) / queuePage * queuePage
	segment = max(segment, 2*queuePage)
	wal, err := wlog.NewSize(logger, nil, filepath.Join(dir, "log"), int(segment), compression.Snappy)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("opening the queue: %w", err)
	}
	q = &queue{dir: dir, max: limit, logger: logger, wake: make(chan struct{}, 1), wal: wal, parts: make(map[int]*queuePart)}
	var place queuePlace
	if b, err := os.ReadFile(filepath.Join(dir, queuePosition)); err == nil {
		if err := json.Unmarshal(b, &place); err != nil {
			notes = append(notes, "the queue's position could not be read: everything in it is sent again")
			place = queuePlace{}
		}
	}
	if q.first, q.last, err = wlog.Segments(wal.Dir()); err != nil {
		return nil, nil, nil, errors.Join(fmt.Errorf("opening the queue: %w", err), wal.Close())
	}
	if place.Segment < q.first || place.Segment > q.last {
		place = queuePlace{Segment: q.first}
	}
	// What waits is read once, to know how much it is and whether it is sound.
	count := &queueReader{q: q, place: place}
	for i := q.first; i <= q.last; i++ {
		part := new(queuePart)
		if info, err := os.Stat(wlog.SegmentName(wal.Dir(), i)); err == nil {
			part.bytes = info.Size()
		}
		q.parts[i] = part
		q.bytes += part.bytes
	}
	for {
		rec, ok := count.next()
		if !ok {
			break
		}
		q.parts[rec.place.Segment].samples += rec.samples
		q.samples += rec.samples
	}
	count.close()
	if count.damaged > 0 {
		notes = append(notes, fmt.Sprintf("the queue was damaged in %d places; what could not be read there is lost", count.damaged))
	}
	return q, &queueReader{q: q, place: place}, notes, nil
}

// push adds a record. If the queue is full, the oldest segment goes.
func (q *queue) push(payload []byte, samples int) error {
	rec := binary.AppendUvarint(nil, uint64(samples))
	rec = append(rec, payload...)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.wal == nil {
		return ErrClosed
	}
	if err := q.wal.Log(rec); err != nil {
		return err
	}
	segment, offset, err := q.wal.LastSegmentAndOffset()
	if err != nil {
		return err
	}
	q.last = segment
	part := q.parts[segment]
	if part == nil {
		part = new(queuePart)
		q.parts[segment] = part
	}
	part.samples += samples
	q.samples += samples
	q.bytes += int64(offset) - part.bytes
	part.bytes = int64(offset)
	for q.bytes > q.max && q.first < q.last {
		q.drop()
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

// drop takes out the oldest segment. q.mu is held.
func (q *queue) drop() {
	if part := q.parts[q.first]; part != nil {
		q.dropped += uint64(part.samples)
		q.samples -= part.samples
		q.bytes -= part.bytes
		delete(q.parts, q.first)
	}
	q.first++
	if err := q.wal.Truncate(q.first); err != nil {
		q.logger.Error("removing a segment of the queue", "err", err)
	}
}

// done acknowledges records, which were read in this order.
func (q *queue) done(recs []queueRecord) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range recs {
		if part := q.parts[r.place.Segment]; part != nil {
			part.samples -= r.samples
			q.samples -= r.samples
		}
	}
	place := recs[len(recs)-1].place
	for q.wal != nil && q.first < place.Segment {
		q.drop()
	}
	b, err := json.Marshal(place)
	if err != nil {
		return err
	}
	name := filepath.Join(q.dir, queuePosition)
	if err := os.WriteFile(name+".tmp", b, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".tmp", name)
}

// sync forces the queue to disk.
func (q *queue) sync() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.wal == nil {
		return ErrClosed
	}
	return q.wal.Sync()
}

func (q *queue) close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.wal == nil {
		return nil
	}
	err := q.wal.Close()
	q.wal = nil
	return err
}

// waiting tells how much has not been acknowledged.
func (q *queue) waiting() (samples int, bytes int64, dropped uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.samples, q.bytes, q.dropped
}

// queueReader reads a queue while it is written.
type queueReader struct {
	q       *queue
	place   queuePlace // of the next record
	file    io.Closer
	live    *wlog.LiveReader
	damaged int
}

// next returns the next record, if there is one.
func (r *queueReader) next() (queueRecord, bool) {
	for {
		r.q.mu.Lock()
		first, last := r.q.first, r.q.last
		r.q.mu.Unlock()
		if r.place.Segment < first { // dropped meanwhile
			r.move(first)
		}
		if r.live == nil && !r.openSegment() {
			if r.place.Segment >= last {
				return queueRecord{}, false
			}
			r.damaged++
			r.move(r.place.Segment + 1)
			continue
		}
		// The reader has to look again once it is known that the segment has ended.
		if r.live.Next() || r.place.Segment < last && errors.Is(r.live.Err(), io.EOF) && r.live.Next() {
			r.place.Records++
			rec := r.live.Record()
			n, used := binary.Uvarint(rec)
			if used <= 0 || n > 1<<31 {
				r.damaged++
				continue
			}
			return queueRecord{place: r.place, samples: int(n), payload: append([]byte(nil), rec[used:]...)}, true
		}
		if !errors.Is(r.live.Err(), io.EOF) {
			r.damaged++
			r.q.logger.Error("a segment of the queue is damaged; going on with the next", "segment", r.place.Segment, "err", r.live.Err())
			if r.place.Segment >= last {
				// Nothing is written behind the damage: a new process begins a new segment.
				return queueRecord{}, false
			}
		}
		if r.place.Segment >= last {
			return queueRecord{}, false
		}
		r.move(r.place.Segment + 1)
	}
}

// openSegment opens the segment of place, and goes over what of it is done.
func (r *queueReader) openSegment() bool {
	f, err := os.Open(wlog.SegmentName(filepath.Join(r.q.dir, "log"), r.place.Segment))
	if err != nil {
		return false
	}
	r.file = f
	r.live = wlog.NewLiveReader(r.q.logger, wlog.NewLiveReaderMetrics(nil), f)
	for range r.place.Records {
		if !r.live.Next() {
			break
		}
	}
	return true
}

func (r *queueReader) move(segment int) {
	r.close()
	r.place = queuePlace{Segment: segment}
}

func (r *queueReader) close() {
	if r.file != nil {
		_ = r.file.Close()
	}
	r.file, r.live = nil, nil
}
