package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/prometheus/prometheus/util/compression"
)

// TSDBOptions describe an embedded TSDB. Zero values take the defaults.
type TSDBOptions struct {
	Dir           string        // made if it is not there
	Retention     time.Duration // default 15 days
	MaxBytes      int64         // of all blocks; default 2 GiB; the oldest go first
	MaxSeries     int           // in the last hours; default 100,000; further ones are turned away
	OutOfOrder    time.Duration // how far behind the newest sample one may be; default 1h
	FlushInterval time.Duration // how often the log is forced to disk; default 10s
	Query         QueryOptions
	Logger        *slog.Logger
}

func (o TSDBOptions) withDefaults() TSDBOptions {
	if o.Retention <= 0 {
		o.Retention = 15 * 24 * time.Hour
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 2 << 30
	}
	if o.MaxSeries <= 0 {
		o.MaxSeries = 100_000
	}
	if o.OutOfOrder <= 0 {
		o.OutOfOrder = time.Hour
	}
	if o.FlushInterval <= 0 {
		o.FlushInterval = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// TSDB is an embedded Prometheus TSDB. What Commit returned for survives the end of the
// process, however it ends; what is older than FlushInterval survives a loss of power.
type TSDB struct {
	*queries
	dir    string
	logger *slog.Logger
	locker *tsdbutil.DirLocker
	notes  []string

	// gate is held for reading by whoever uses db, and for writing by Close.
	gate    sync.RWMutex
	db      *tsdb.DB // nil after Close
	closing context.Context
	close   context.CancelFunc
	keeper  sync.WaitGroup

	// appending is held while a sample is appended, below gate. Two series that are created
	// at the same time can get into Prometheus' index in the wrong order, which it repairs
	// under the eyes of queries (prometheus/prometheus#15317).
	appending sync.Mutex

	maxSeries atomic.Int64
	health    health
	open      transactions

	settings sync.Mutex // guards opts
	opts     TSDBOptions
	room     atomic.Bool // there is enough on the disk
	changed  atomic.Bool // opts, since the last upkeep
	mapping  atomic.Bool // chunks of the head are mapped, which has not failed yet
}

const (
	walSegmentBytes = 32 << 20
	// chunkFileBytes are asked of the disk for each file of a block before it is written.
	chunkFileBytes = 16 << 20
	stripes        = 1 << 11 // a lock and two maps each; enough for 100,000 series
	maxBlock       = 31 * 24 * time.Hour
)

// OpenTSDB opens the database in opts.Dir. It repairs what the TSDB can repair, and moves
// what nobody can read to the directory set-aside; Status.Notes tells of both.
func OpenTSDB(opts TSDBOptions) (*TSDB, error) {
	opts = opts.withDefaults()
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("directory of the store: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, noDirectory(err)
	}
	s := &TSDB{dir: dir, logger: opts.Logger, opts: opts}
	s.open.changed = sync.NewCond(&s.open.mu)
	s.room.Store(true)
	s.mapping.Store(true)
	s.maxSeries.Store(int64(opts.MaxSeries))
	// The lock is taken before anything in the directory is looked at, and not by the TSDB.
	if s.locker, err = tsdbutil.NewDirLocker(dir, "tsdb", opts.Logger, nil); err != nil {
		return nil, err
	}
	if err := s.locker.Lock(); err != nil {
		return nil, notLocked(dir, err)
	}
	doctor := &doctor{dir: dir, logger: opts.Logger, started: time.Now()}
	if s.db, err = doctor.open(tsdbOptions(opts)); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the store in %s: %w", dir, err), s.locker.Release())
	}
	s.notes = doctor.notes
	s.db.DisableCompactions() // see keepUp
	s.closing, s.close = context.WithCancel(context.Background())
	s.queries = newQueries(opts.Query, s.db, opts.Logger, s.enter)
	s.health.look(s.db)
	s.watchRoom()
	s.keeper.Go(func() { s.keepUp(opts.FlushInterval) })
	return s, nil
}

func tsdbOptions(o TSDBOptions) *tsdb.Options {
	t := tsdb.DefaultOptions()
	t.NoLockfile = true
	t.WALCompression = compression.Snappy
	t.WALSegmentSize = walSegmentBytes
	t.MaxBlockChunkSegmentSize = chunkFileBytes
	t.BlockReloadInterval = never // see keepUp
	t.StripeSize = stripes
	t.RetentionDuration = o.Retention.Milliseconds()
	t.MaxBytes = o.MaxBytes
	t.OutOfOrderTimeWindow = o.OutOfOrder.Milliseconds()
	// As Prometheus does: one block never holds more than a tenth of the whole.
	t.MaxBlockDuration = max(tsdb.DefaultBlockDuration, min(o.Retention/10, maxBlock).Milliseconds())
	return t
}

// openTSDB opens the database, and makes an error of a panic over damaged files.
func openTSDB(dir string, logger *slog.Logger, opts *tsdb.Options) (db *tsdb.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	return tsdb.Open(dir, logger, prometheus.NewRegistry(), opts, nil)
}

var errPanic = errors.New("panic while the store was opened")

// Apply changes what can be changed while the store is open: all but the directory and the
// interval of flushes.
func (s *TSDB) Apply(opts TSDBOptions) error {
	opts = opts.withDefaults()
	s.maxSeries.Store(int64(opts.MaxSeries))
	s.limit(opts.Query, s.logger)
	s.settings.Lock()
	s.opts = opts
	s.settings.Unlock()
	s.changed.Store(true)
	s.gate.RLock()
	defer s.gate.RUnlock()
	return s.configure()
}

// AppenderV2 implements storage.AppendableV2.
func (s *TSDB) AppenderV2(ctx context.Context) storage.AppenderV2 {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.db == nil {
		return closedAppender{}
	}
	return &tsdbAppender{s: s, app: s.db.AppenderV2(ctx)}
}

// enter keeps the database open for a query.
func (s *TSDB) enter(ctx context.Context) (context.Context, func(), error) {
	s.gate.RLock()
	if s.db == nil {
		s.gate.RUnlock()
		return nil, nil, ErrClosed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.closing, func() { cancel(ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
		s.gate.RUnlock()
	}, nil
}

// Close implements Store.
func (s *TSDB) Close() error {
	s.close() // ends queries and the upkeep
	s.keeper.Wait()
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.db == nil {
		return nil
	}
	s.health.look(s.db)
	// Closing syncs the last segment of the log. Before that it moves chunks from memory to
	// files, and panics when it cannot; the log has them, so only the sync is made up for.
	err := guarded(s.db.Close)
	if errors.Is(err, errPanicked) {
		s.logger.Warn("chunks were not moved to files at the end; the log has them", "err", err)
		err = s.sync()
	}
	err = errors.Join(err, s.locker.Release())
	s.db = nil
	return err
}
