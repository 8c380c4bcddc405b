package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/alecthomas/units"
	"github.com/dustin/go-humanize"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/tsdb"
)

// The TSDB would do its upkeep by itself, in a goroutine of its own. There it only logs
// what fails, and panics over a disk that is full while chunks of the head are mapped, which
// would end the whole process. So it is told to leave that, and it is done here.

const (
	// upkeepEvery is how often blocks are cut and chunks mapped, if there is something to do.
	upkeepEvery = time.Minute
	// leastRoom is how much has to be free for chunks to be mapped, and for samples to be
	// taken out of order, as those are mapped while they are appended.
	leastRoom = 16 << 20
	// never is for the TSDB's own rounds.
	never = 100 * 365 * 24 * time.Hour
)

// keepUp flushes and does the upkeep until the store is closed.
func (s *TSDB) keepUp(flush time.Duration) {
	flushes, rounds := time.NewTicker(flush), time.NewTicker(upkeepEvery)
	defer flushes.Stop()
	defer rounds.Stop()
	for {
		select {
		case <-s.closing.Done():
			return
		case <-flushes.C:
			if err := s.sync(); err != nil {
				s.logger.Error("forcing the log to disk", "err", err)
			}
			s.gate.RLock()
			s.watchRoom()
			s.gate.RUnlock()
		case <-rounds.C:
			s.Upkeep()
		}
	}
}

// Upkeep cuts blocks of what is old enough, merges them, and deletes what is beyond the
// retention. It is done by itself once a minute.
func (s *TSDB) Upkeep() {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.db == nil {
		return
	}
	s.watchRoom()
	err := s.upkeep()
	if s.closing.Err() != nil {
		return // it was cut short
	}
	if err != nil {
		s.logger.Error("upkeep of the store", "err", err)
	}
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil && h.unkept == nil {
		h.unkeptAt = time.Now()
	}
	h.unkept = err
}

func (s *TSDB) upkeep() error {
	if s.room.Load() {
		if err := s.mapChunks(); err != nil {
			return err
		}
	}
	return guarded(func() error {
		if s.changed.Swap(false) { // of the retention: this looks at the blocks anew
			if err := s.db.CompactOOOHead(s.closing); err != nil {
				return err
			}
		}
		return s.db.Compact(s.closing)
	})
}

// mapChunks moves full chunks of the head from memory to files. After it has failed once the
// mapper has lost its place, and must not be used again: what is not mapped stays in memory
// until it goes into a block.
func (s *TSDB) mapChunks() error {
	if !s.mapping.Load() {
		return nil
	}
	err := guarded(func() error { s.db.ForceHeadMMap(); return nil })
	if err == nil {
		return nil
	}
	s.mapping.Store(false)
	s.logger.Warn("chunks stay in memory from now on", "err", err)
	return s.configure()
}

// guarded makes an error of a panic.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			cause, ok := p.(error)
			if !ok {
				cause = fmt.Errorf("%v", p)
			}
			err = fmt.Errorf("%w: %w", errPanicked, cause)
		}
	}()
	return f()
}

var errPanicked = errors.New("panic in the TSDB")

// watchRoom stops what would panic over a full disk while little is free. The gate is held.
func (s *TSDB) watchRoom() {
	if s.db == nil {
		return
	}
	free, known := freeBytes(s.dir)
	room := !known || free >= leastRoom
	if s.room.Swap(room) == room {
		return
	}
	if room {
		s.logger.Info("there is room on the disk again")
	} else {
		s.logger.Warn("the disk is nearly full", "free", humanize.IBytes(free))
	}
	if err := s.configure(); err != nil {
		s.logger.Error("changing the window for samples out of order", "err", err)
	}
}

// configure puts the settings in force that can be changed while the store is open. The gate
// is held.
func (s *TSDB) configure() error {
	if s.db == nil {
		return ErrClosed
	}
	s.settings.Lock()
	defer s.settings.Unlock()
	o := s.opts
	window := o.OutOfOrder.Milliseconds()
	if !s.room.Load() || !s.mapping.Load() {
		window = 0
	}
	return s.db.ApplyConfig(&config.Config{StorageConfig: config.StorageConfig{
		TSDBConfig: &config.TSDBConfig{
			OutOfOrderTimeWindow: window,
			Retention: &config.TSDBRetentionConfig{
				Time: model.Duration(o.Retention),
				Size: units.Base2Bytes(o.MaxBytes),
			},
		},
	}})
}

// cutHead puts all that is in the head into blocks, each within the bounds that the TSDB
// gives its own.
func cutHead(db *tsdb.DB) error {
	head := db.Head()
	const width = tsdb.DefaultBlockDuration
	for from, to := head.MinTime(), head.MaxTime(); from <= to; {
		end := min(to, from-((from%width)+width)%width+width-1)
		err := db.CompactHead(tsdb.NewRangeHeadWithIsolationDisabled(head, from, end))
		// Once the block is there, the TSDB makes a checkpoint of its log, which fails over a
		// torn one. That log is about to go.
		if err != nil && head.MinTime() <= end {
			return err
		}
		from = end + 1
	}
	return nil
}
