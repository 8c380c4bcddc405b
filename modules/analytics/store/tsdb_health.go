package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

// health is what a TSDB knows of itself.
type health struct {
	mu      sync.Mutex
	looked  time.Time
	status  Status // the figures of the last look
	taken   uint64
	dropped uint64

	failed    error     // of the last write; nil once one succeeds
	failedAt  time.Time // since when
	full      bool      // the last transaction had series beyond the limit
	allTooOld bool      // the last transactions brought only samples from long ago
	unwritten error     // of the last flush
	unkept    error     // of the last upkeep
	unkeptAt  time.Time // since when
}

// lookEvery is how old the figures of a status may be.
const lookEvery = 5 * time.Second

// committed takes note of a transaction. A zero time only counts.
func (h *health) committed(o outcome, err error, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropped += o.dropped
	if now.IsZero() {
		return
	}
	if err != nil {
		h.dropped += o.taken
		if h.failed == nil {
			h.failedAt = now
		}
		h.failed = err
		return
	}
	h.taken += o.taken
	h.full = o.tooMany > 0 || h.full && o.taken == 0
	if o.taken > 0 {
		h.failed = nil
		h.allTooOld = false
	} else if o.tooOld > 0 {
		h.allTooOld = true
	}
}

// look takes the figures of db.
func (h *health) look(db *tsdb.DB) {
	head := db.Head()
	st := Status{Series: int(head.NumSeries()), Bytes: head.Size()}
	oldest, newest := head.MinTime(), head.MaxTime()
	if t := head.MinOOOTime(); t < oldest {
		oldest = t
	}
	for _, b := range db.Blocks() {
		st.Bytes += b.Size()
		oldest, newest = min(oldest, b.MinTime()), max(newest, b.MaxTime()-1)
	}
	if oldest != math.MaxInt64 && newest != math.MinInt64 {
		st.Oldest, st.Newest = time.UnixMilli(oldest), time.UnixMilli(newest)
	}
	h.mu.Lock()
	h.status, h.looked = st, time.Now()
	h.mu.Unlock()
}

// Status implements Store.
func (s *TSDB) Status() Status {
	s.gate.RLock()
	defer s.gate.RUnlock()
	h := &s.health
	h.mu.Lock()
	old := time.Since(h.looked) > lookEvery || h.status.Samples != h.taken && h.status.Newest.IsZero()
	h.mu.Unlock()
	if old && s.db != nil {
		h.look(s.db)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status.Samples = h.taken
	st := h.status
	st.Kind, st.Location, st.Notes = "tsdb", s.dir, s.notes
	st.Dropped = h.dropped
	if s.db != nil {
		st.Series = int(s.db.Head().NumSeries())
		if t := s.db.Head().MaxTime(); t > st.Newest.UnixMilli() || st.Newest.IsZero() && t != math.MinInt64 {
			st.Newest = time.UnixMilli(t)
		}
	}
	torn, unmended := s.open.problem()
	st.OK = s.db != nil && h.failed == nil && !h.allTooOld
	switch {
	case s.db == nil:
		st.Problem = ErrClosed.Error()
	case h.failed != nil:
		st.Problem = fmt.Sprintf("since %s samples cannot be written: %v; %s",
			h.failedAt.Format(time.RFC3339), h.failed, wayOut(h.failed))
	case h.allTooOld:
		st.Problem = fmt.Sprintf("samples are turned away as too old: the newest in the store is from %s, so the clock was set back since; "+
			"collecting goes on when the clock comes near that time, or after a restart with the directory moved away",
			st.Newest.Format(time.RFC3339))
	case h.unwritten != nil:
		st.Problem = fmt.Sprintf("the log cannot be forced to disk, a loss of power would lose it: %v; %s", h.unwritten, wayOut(h.unwritten))
	case unmended != nil:
		st.Problem = fmt.Sprintf("a write to the log failed at %s, and a restart would lose what came since, until it is mended: %v; %s",
			torn.Format(time.RFC3339), unmended, wayOut(unmended))
	case h.unkept != nil:
		st.Problem = fmt.Sprintf("since %s the log cannot be put into blocks, so that it grows, and nothing old is deleted: %v; %s",
			h.unkeptAt.Format(time.RFC3339), h.unkept, wayOut(h.unkept))
	case !s.mapping.Load():
		st.Problem = "the disk was full when chunks were moved to it: until the next start more stays in memory, and nothing is taken out of order; restart Caddy when it suits"
	case h.full && st.Series >= int(s.maxSeries.Load()):
		st.Problem = tooManySeries(int(s.maxSeries.Load()))
	}
	return st
}

// wayOut says what to do about an error of the file system.
func wayOut(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "free space on the disk or lower max_size; it goes on by itself"
	case errors.Is(err, syscall.EROFS):
		return "the file system is read-only: mount it for writing"
	case errors.Is(err, os.ErrPermission):
		return "give the user that runs Caddy the right to write there"
	}
	return "see the log; it goes on by itself when the cause is gone"
}

// noDirectory says that a store's directory cannot be made, and the way out.
func noDirectory(err error) error {
	return fmt.Errorf("directory of the store: %w; %s, or set another dir", err, wayOut(err))
}

// notLocked says why a directory's lock cannot be had. Mostly another process has it.
func notLocked(dir string, err error) error {
	for _, ours := range []error{os.ErrPermission, syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, ours) {
			return noDirectory(err)
		}
	}
	return fmt.Errorf("the directory %s is in use by another process: stop that one, or set another dir: %w", dir, err)
}

// Flush implements Store: what was written to the log is forced to disk.
func (s *TSDB) Flush(ctx context.Context) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.db == nil {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mend(ctx, true)
	_, unmended := s.open.problem()
	return errors.Join(unmended, s.sync())
}

// sync forces the open segments to disk. The TSDB does that by itself for each that is
// full; any descriptor of a file will do.
func (s *TSDB) sync() error {
	var failed error
	for _, name := range []string{"wal", wlog.WblDirName} {
		dir := filepath.Join(s.dir, name)
		_, last, err := wlog.Segments(dir)
		if err != nil || last < 0 {
			continue // not there yet
		}
		failed = errors.Join(failed, syncFile(wlog.SegmentName(dir, last)))
	}
	s.health.mu.Lock()
	s.health.unwritten = failed
	s.health.mu.Unlock()
	return failed
}

func syncFile(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // truncated away since
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
