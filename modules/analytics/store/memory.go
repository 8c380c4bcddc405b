package store

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// MemoryOptions bound a Memory store. Zero values take the defaults.
type MemoryOptions struct {
	MaxSeries  int           // default 10,000; further series are turned away
	MaxSamples int           // of a series; default 10,000; the oldest go first
	MaxBytes   int64         // of all samples; default 256 MiB; the oldest go first
	Retention  time.Duration // default 24h
	OutOfOrder time.Duration // how far behind the newest sample of a series one may be; default 1h
	Query      QueryOptions
	Logger     *slog.Logger
}

func (o MemoryOptions) withDefaults() MemoryOptions {
	if o.MaxSeries <= 0 {
		o.MaxSeries = 10_000
	}
	if o.MaxSamples <= 0 {
		o.MaxSamples = 10_000
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 256 << 20
	}
	if o.Retention <= 0 {
		o.Retention = 24 * time.Hour
	}
	if o.OutOfOrder <= 0 {
		o.OutOfOrder = time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Memory keeps samples in memory only, in the TSDB's own compressed chunks: 2 to 9 bytes a
// sample, counters less than noise, where a plain pair of time and value is 16. It is ours, and not Prometheus'
// head block, since that one maps its full chunks to files and so needs a directory.
type Memory struct {
	*queries
	set    atomic.Pointer[MemoryOptions]
	closed atomic.Bool

	mu     sync.RWMutex // guards the index; taken before the mutex of a series
	nextID storage.SeriesRef
	byID   map[storage.SeriesRef]*memSeries
	byHash map[uint64][]*memSeries
	byName map[string]map[storage.SeriesRef]*memSeries

	bytes    atomic.Int64 // of samples
	overhead atomic.Int64 // of series and labels
	appended atomic.Uint64
	dropped  atomic.Uint64
	full     atomic.Bool  // the last new series was turned away
	newest   atomic.Int64 // in ms
	swept    atomic.Int64 // when, in Unix seconds
}

// sweepEvery is how often what is too old is looked for.
const sweepEvery = 10 * time.Second

// NewMemory makes an empty store.
func NewMemory(opts MemoryOptions) *Memory {
	opts = opts.withDefaults()
	m := &Memory{
		byID:   make(map[storage.SeriesRef]*memSeries),
		byHash: make(map[uint64][]*memSeries),
		byName: make(map[string]map[storage.SeriesRef]*memSeries),
	}
	m.set.Store(&opts)
	m.queries = newQueries(opts.Query, storage.QueryableFunc(m.querier), opts.Logger,
		func(ctx context.Context) (context.Context, func(), error) {
			if m.closed.Load() {
				return nil, nil, ErrClosed
			}
			return ctx, func() {}, nil
		})
	return m
}

// Apply changes the limits while the store is in use.
func (m *Memory) Apply(opts MemoryOptions) {
	opts.Logger = m.opts().Logger
	opts = opts.withDefaults()
	m.set.Store(&opts)
	m.limit(opts.Query, opts.Logger)
}

func (m *Memory) opts() *MemoryOptions { return m.set.Load() }

// Status implements Store.
func (m *Memory) Status() Status {
	s := Status{
		Kind:    "memory",
		OK:      !m.closed.Load(),
		Samples: m.appended.Load(),
		Dropped: m.dropped.Load(),
		Bytes:   m.bytes.Load() + m.overhead.Load(),
	}
	if !s.OK {
		s.Problem = ErrClosed.Error()
		return s
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	s.Series = len(m.byID)
	if m.full.Load() && s.Series >= m.opts().MaxSeries {
		s.Problem = tooManySeries(m.opts().MaxSeries)
	}
	var oldest, newest int64
	for _, series := range m.byID {
		series.mu.Lock()
		if t, ok := series.oldest(); ok {
			if s.Oldest.IsZero() || t < oldest {
				oldest = t
				s.Oldest = time.UnixMilli(t)
			}
			newest = max(newest, series.last)
		}
		series.mu.Unlock()
	}
	if !s.Oldest.IsZero() {
		s.Newest = time.UnixMilli(newest)
	}
	return s
}

// Flush implements Store: there is nothing to write.
func (m *Memory) Flush(context.Context) error {
	if m.closed.Load() {
		return ErrClosed
	}
	return nil
}

// Close implements Store.
func (m *Memory) Close() error {
	if m.closed.Swap(true) {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.byID)
	clear(m.byHash)
	clear(m.byName)
	m.bytes.Store(0)
	m.overhead.Store(0)
	return nil
}

// series finds a series or makes it; nil if there are too many.
func (m *Memory) series(ref storage.SeriesRef, ls labels.Labels) *memSeries {
	hash := ls.Hash()
	m.mu.RLock()
	s := m.find(ref, hash, ls)
	m.mu.RUnlock()
	if s != nil {
		return s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.find(ref, hash, ls); s != nil {
		return s
	}
	if len(m.byID) >= m.opts().MaxSeries {
		m.full.Store(true)
		return nil
	}
	m.nextID++
	s = &memSeries{id: m.nextID, ls: ls, met: ls.Get(model.MetricNameLabel)}
	m.byID[s.id] = s
	m.byHash[hash] = append(m.byHash[hash], s)
	if m.byName[s.met] == nil {
		m.byName[s.met] = make(map[storage.SeriesRef]*memSeries)
	}
	m.byName[s.met][s.id] = s
	m.overhead.Add(seriesOverhead + int64(ls.ByteSize()))
	return s
}

func (m *Memory) find(ref storage.SeriesRef, hash uint64, ls labels.Labels) *memSeries {
	if s := m.byID[ref]; s != nil && labels.Equal(s.ls, ls) {
		return s
	}
	for _, s := range m.byHash[hash] {
		if labels.Equal(s.ls, ls) {
			return s
		}
	}
	return nil
}

// forget takes a series out of the index. m.mu is held for writing, and s.mu.
func (m *Memory) forget(s *memSeries) {
	s.gone = true
	delete(m.byID, s.id)
	hash := s.ls.Hash()
	rest := m.byHash[hash][:0]
	for _, other := range m.byHash[hash] {
		if other != s {
			rest = append(rest, other)
		}
	}
	if len(rest) == 0 {
		delete(m.byHash, hash)
	} else {
		m.byHash[hash] = rest
	}
	delete(m.byName[s.met], s.id)
	if len(m.byName[s.met]) == 0 {
		delete(m.byName, s.met)
	}
	m.overhead.Add(-seriesOverhead - int64(s.ls.ByteSize()))
}

// sweep drops what is older than the retention, and, if there is too much, the oldest
// sixteenth until there is not.
func (m *Memory) sweep(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// A clock that jumped ahead must not age everything at once.
	end := min(now.UnixMilli(), m.newest.Load())
	m.expire(end - m.opts().Retention.Milliseconds())
	if m.bytes.Load() <= m.opts().MaxBytes {
		return
	}
	cut := end
	for _, s := range m.byID {
		s.mu.Lock()
		if t, ok := s.oldest(); ok {
			cut = min(cut, t)
		}
		s.mu.Unlock()
	}
	// Somewhat below the limit, so that not every commit has to do this again.
	for goal := m.opts().MaxBytes / 16 * 15; cut < end && m.bytes.Load() > goal; {
		cut += (end-cut)/16 + 1
		m.expire(cut)
	}
}

// expire drops all chunks that end before t. m.mu is held for writing.
func (m *Memory) expire(t int64) {
	for _, s := range m.byID {
		s.mu.Lock()
		m.bytes.Add(-s.expire(t))
		if len(s.chunks) == 0 && s.last < t {
			m.forget(s)
		}
		s.mu.Unlock()
	}
	if len(m.byID) < m.opts().MaxSeries {
		m.full.Store(false)
	}
}
