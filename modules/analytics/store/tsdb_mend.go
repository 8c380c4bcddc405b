package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/prometheus/tsdb/fileutil"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

// A write to the log that fails, as on a full disk, may leave half a record in it. What is
// written behind that goes well, and is in memory; but at the next start the TSDB reads the
// log up to the half record only, and deletes the rest. Also the records that say which
// series a number stands for may be missing. So as soon as a write succeeds again, all that
// is in memory is put into blocks, and the log up to there is deleted.

// transactions are those that have appended something and are not yet at their end.
type transactions struct {
	mu      sync.Mutex
	changed *sync.Cond
	open    int
	torn    bool // the log is, and what is behind has nothing but the memory
	since   time.Time
	mending bool
	tried   time.Time
	failed  error // of the last try
}

const (
	// othersPatience is how long mending waits for other transactions to end.
	othersPatience = 2 * time.Second
	// mendAgain is between two tries.
	mendAgain = 10 * time.Second
)

// begin waits until nothing is being mended.
func (x *transactions) begin() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for x.mending {
		x.changed.Wait()
	}
	x.open++
}

func (x *transactions) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.open--
	x.changed.Broadcast()
}

func (x *transactions) tear() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.torn {
		x.torn, x.since = true, time.Now()
	}
}

// problem says what is at risk, if anything.
func (x *transactions) problem() (since time.Time, failed error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.torn {
		return time.Time{}, nil
	}
	return x.since, x.failed
}

// claim makes the caller the one who mends, if there is something to mend and it is time.
// While another does, it waits for that.
func (x *transactions) claim(now bool) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for x.mending {
		x.changed.Wait()
	}
	if !x.torn || !now && time.Since(x.tried) < mendAgain {
		return false
	}
	x.mending = true
	// What one transaction has begun another must not miss the log of. One that does not
	// end is not waited for: mending is tried again.
	wake := time.AfterFunc(othersPatience, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.changed.Broadcast()
	})
	defer wake.Stop()
	for until := time.Now().Add(othersPatience); x.open > 0 && time.Now().Before(until); {
		x.changed.Wait()
	}
	return true
}

func (x *transactions) release(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.mending, x.failed = false, err
	x.torn = err != nil
	if x.tried = time.Now(); err == nil {
		x.tried = time.Time{} // the next time it is done at once
	}
	x.changed.Broadcast()
}

// mend makes what is in memory independent of a torn log. The gate is held.
func (s *TSDB) mend(ctx context.Context, now bool) {
	if !s.open.claim(now) {
		return
	}
	err := guarded(func() error { return s.replaceLog(ctx) })
	s.open.release(err)
	if err != nil {
		s.logger.Error("mending the log after a failed write", "err", err)
		return
	}
	s.logger.Info("the log was mended after a failed write")
}

// replaceLog puts all that is in memory into blocks, and deletes the log up to there.
func (s *TSDB) replaceLog(ctx context.Context) error {
	wal := filepath.Join(s.dir, "wal")
	_, before, err := wlog.Segments(wal)
	if err != nil {
		return err
	}
	if err := s.db.CompactOOOHead(ctx); err != nil {
		return err
	}
	if err := cutHead(s.db); err != nil {
		return err
	}
	if n := s.db.Head().NumSeries(); n > 0 {
		return fmt.Errorf("%d series are being written: it is tried again", n)
	}
	_, last, err := wlog.Segments(wal)
	if err != nil {
		return err
	}
	if last <= before {
		return errors.New("the log has no new segment yet")
	}
	return s.dropLog(wal, before)
}

// dropLog makes the log begin behind a segment. An empty checkpoint says so; when it is in
// place what is older counts no more, and is deleted.
func (s *TSDB) dropLog(wal string, upTo int) error {
	checkpoint := wlog.CheckpointDir(wal, upTo)
	tmp := checkpoint + wlog.CheckpointTempFileSuffix
	if err := errors.Join(os.RemoveAll(tmp), os.RemoveAll(checkpoint)); err != nil {
		return err
	}
	w, err := wlog.New(s.logger, nil, tmp, compression.Snappy)
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := fileutil.Replace(tmp, checkpoint); err != nil {
		return err
	}
	if err := wlog.DeleteCheckpoints(wal, upTo); err != nil {
		return err
	}
	first, _, err := wlog.Segments(wal)
	if err != nil {
		return err
	}
	for i := first; i <= upTo; i++ {
		if err := os.Remove(wlog.SegmentName(wal, i)); err != nil {
			return err
		}
	}
	return nil
}
