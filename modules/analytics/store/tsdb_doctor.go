package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

// doctor opens a database that may be damaged. The TSDB itself refuses to open over a bad
// block or checkpoint, and deletes what follows a bad record of its log; so what is bad is
// looked for first, and moved or copied to set-aside.
type doctor struct {
	dir     string
	logger  *slog.Logger
	started time.Time
	notes   []string
	aside   string // where to, once something is set aside
}

// maxExamine bounds how long the blocks are read for damage before the store is opened
// over the rest of them.
const maxExamine = 10 * time.Second

// open examines the database and opens it. If it does not open even so, it is opened
// without its log, and in the end empty: a damaged history must not keep new samples out.
func (d *doctor) open(opts *tsdb.Options) (*tsdb.DB, error) {
	if err := d.blocks(); err != nil {
		return nil, err
	}
	if err := d.checkpoint(); err != nil {
		return nil, err
	}
	for _, log := range []string{"wal", wlog.WblDirName} {
		if err := d.log(log); err != nil {
			return nil, err
		}
	}
	steps := []struct {
		what  string
		names []string
	}{
		{"the log of the last hours", []string{"wal", wlog.WblDirName, "chunks_head"}},
		{"all blocks", nil},
	}
	for _, step := range steps {
		db, err := openTSDB(d.dir, d.logger, opts)
		if err == nil || hopeless(err) {
			return db, err
		}
		names := step.names
		if names == nil {
			if names, err = d.blockDirs(); err != nil {
				return nil, err
			}
		}
		d.note("%s could not be read and was set aside whole: %v", step.what, err)
		for _, name := range names {
			if err := d.setAside(name); err != nil {
				return nil, err
			}
		}
	}
	return openTSDB(d.dir, d.logger, opts)
}

// hopeless tells errors that moving files away does not cure.
func hopeless(err error) bool {
	for _, no := range []error{
		os.ErrPermission, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
	} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

func (d *doctor) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	d.notes = append(d.notes, text)
	d.logger.Warn(text, "dir", d.dir)
}

// blocks sets aside every block that cannot be read to its end.
func (d *doctor) blocks() error {
	names, err := d.blockDirs()
	if err != nil {
		return err
	}
	unread := 0
	for _, name := range names {
		if time.Since(d.started) > maxExamine {
			unread++
			continue
		}
		err := examineBlock(d.logger, filepath.Join(d.dir, name))
		if err == nil {
			continue
		}
		if hopeless(err) {
			return fmt.Errorf("reading block %s: %w", name, err)
		}
		if err := d.setAside(name); err != nil {
			return err
		}
		d.note("block %s was damaged and was set aside in %s: %v", name, d.aside, err)
	}
	if unread > 0 {
		d.note("%d of %d blocks were not read for damage, as that would take too long", unread, len(names))
	}
	return nil
}

// checkpoint rewrites a damaged checkpoint of the log with its sound records. (The TSDB
// would take the place of the damage for one in the log, and delete from there on.)
func (d *doctor) checkpoint() error {
	wal := filepath.Join(d.dir, "wal")
	dir, _, err := wlog.LastCheckpoint(wal)
	if err != nil {
		return nil //nolint:nilerr // there is none
	}
	_, _, damage := readLog(func() (io.ReadCloser, error) { return wlog.NewSegmentsReader(dir) }, nil)
	if damage == nil {
		return nil
	}
	sound := dir + ".tmp" // which the TSDB removes if this is cut short
	if err := os.RemoveAll(sound); err != nil {
		return err
	}
	w, err := wlog.NewSize(d.logger, nil, sound, walSegmentBytes, compression.Snappy)
	if err != nil {
		return fmt.Errorf("rewriting a damaged checkpoint: %w", err)
	}
	records := 0
	var failed error
	_, _, _ = readLog(func() (io.ReadCloser, error) { return wlog.NewSegmentsReader(dir) }, func(rec []byte) error {
		records++
		failed = w.Log(rec)
		return failed
	})
	if err := errors.Join(failed, w.Close()); err != nil {
		return fmt.Errorf("rewriting a damaged checkpoint: %w", err)
	}
	name := filepath.Join("wal", filepath.Base(dir))
	if err := d.setAside(name); err != nil {
		return err
	}
	if err := os.Rename(sound, dir); err != nil {
		return err
	}
	d.note("checkpoint %s was damaged: %d records before the damage were kept, and all of it was set aside in %s: %v", name, records, d.aside, damage)
	return nil
}

// log copies what the TSDB is about to cut off a damaged log.
func (d *doctor) log(name string) error {
	dir := filepath.Join(d.dir, name)
	first, last, err := wlog.Segments(dir)
	if err != nil || first < 0 {
		return nil //nolint:nilerr // there is none, or open finds out what is wrong
	}
	if _, checkpoint, err := wlog.LastCheckpoint(dir); err == nil {
		first = max(first, checkpoint+1)
	}
	for i := first; i <= last; i++ {
		offset, end, damage := readLog(func() (io.ReadCloser, error) {
			s, err := wlog.OpenReadSegment(wlog.SegmentName(dir, i))
			if err != nil {
				return nil, err
			}
			return wlog.NewSegmentBufReader(s), nil
		}, nil)
		if damage == nil {
			continue
		}
		// An unfinished write is the end of the log. What has more behind it was whole once.
		info, err := os.Stat(wlog.SegmentName(dir, i))
		if err != nil {
			return err
		}
		torn := i == last && end >= info.Size()
		bytes, err := d.copyAside(name, i, last, offset)
		if err != nil {
			return err
		}
		if torn {
			d.note("the last write to the %s was cut short, as by a killed process or a loss of power; its %s are in %s",
				name, humanize.IBytes(uint64(bytes)), d.aside)
		} else {
			d.note("the %s was damaged at byte %d of segment %d: what was before is kept, the %s after it are in %s: %v",
				name, offset, i, humanize.IBytes(uint64(bytes)), d.aside, damage)
		}
		return nil
	}
	return nil
}

// readLog reads a log to its end, or to the first damage: to the end of the last sound
// record, and of what could not be read. Behind the end of a segment zeros are read.
func readLog(open func() (io.ReadCloser, error), each func([]byte) error) (sound, end int64, damage error) {
	rc, err := open()
	if err != nil {
		return 0, 0, err
	}
	defer rc.Close()
	r := wlog.NewReader(rc)
	for r.Next() {
		sound = r.Offset()
		if each != nil {
			if err := each(r.Record()); err != nil {
				return sound, sound, err
			}
		}
	}
	return sound, r.Offset(), r.Err()
}

// examineBlock reads all of a block, each part of which has a checksum.
func examineBlock(logger *slog.Logger, dir string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic while it was read: %v", p)
		}
	}()
	b, err := tsdb.OpenBlock(logger, dir, nil, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	return examineSeries(context.Background(), b)
}
