package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/dustin/go-humanize"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

// examineSeries reads every list of series, every series and every chunk of a block.
func examineSeries(ctx context.Context, b *tsdb.Block) error {
	ir, err := b.Index()
	if err != nil {
		return err
	}
	defer ir.Close()
	cr, err := b.Chunks()
	if err != nil {
		return err
	}
	defer cr.Close()

	names, err := ir.LabelNames(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		p := ir.PostingsForAllLabelValues(ctx, name)
		for p.Next() {
		}
		if err := p.Err(); err != nil {
			return fmt.Errorf("series by label %q: %w", name, err)
		}
	}
	key, value := index.AllPostingsKey()
	all, err := ir.Postings(ctx, key, value)
	if err != nil {
		return err
	}
	var builder labels.ScratchBuilder
	var metas []chunks.Meta
	n := uint64(0)
	for all.Next() {
		if err := ir.Series(all.At(), &builder, &metas); err != nil {
			return fmt.Errorf("series: %w", err)
		}
		n++
		for _, m := range metas {
			if _, _, err := cr.ChunkOrIterable(m); err != nil {
				return fmt.Errorf("chunk: %w", err)
			}
		}
	}
	if err := all.Err(); err != nil {
		return err
	}
	if want := b.Meta().Stats.NumSeries; n != want {
		return fmt.Errorf("%d series are there, and %d should be", n, want)
	}
	return nil
}

// blockDirs lists the directories of blocks.
func (d *doctor) blockDirs() ([]string, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, fmt.Errorf("directory of the store: %w", err)
	}
	var names []string
	for _, e := range entries {
		if _, err := ulid.ParseStrict(e.Name()); err == nil && e.IsDir() {
			names = append(names, e.Name())
		}
	}
	slices.Reverse(names) // the newest matter most
	return names, nil
}

const (
	asideDir = "set-aside"
	// What was set aside is kept in so many directories and so many bytes; the oldest go.
	maxAside      = 16
	maxAsideBytes = 1 << 30
)

// place makes the directory that this opening sets things aside in.
func (d *doctor) place(sub string) (string, error) {
	if d.aside == "" {
		d.aside = filepath.Join(d.dir, asideDir, d.started.UTC().Format("20060102T150405.000000Z"))
		if err := d.prune(); err != nil {
			return "", err
		}
	}
	dir := filepath.Join(d.aside, sub)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("setting damaged files aside: %w", err)
	}
	return dir, nil
}

// setAside moves a file or directory of the database.
func (d *doctor) setAside(name string) error {
	from := filepath.Join(d.dir, name)
	if _, err := os.Lstat(from); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	dir, err := d.place(filepath.Dir(name))
	if err != nil {
		return err
	}
	if err := os.Rename(from, filepath.Join(dir, filepath.Base(name))); err != nil {
		return fmt.Errorf("setting %s aside: %w", name, err)
	}
	return nil
}

// copyAside copies a log from the damage on: segment i from the page with the offset, and
// all segments after it.
func (d *doctor) copyAside(name string, i, last int, offset int64) (int64, error) {
	const page = 32 << 10
	total := int64(0)
	for k := i; k <= last; k++ {
		from := wlog.SegmentName(filepath.Join(d.dir, name), k)
		start := int64(0)
		if k == i {
			start = offset / page * page
		}
		info, err := os.Stat(from)
		if err != nil || info.Size() <= start {
			continue
		}
		dir, err := d.place(name)
		if err != nil {
			return total, err
		}
		n, err := copyFrom(filepath.Join(dir, filepath.Base(from)), from, start)
		total += n
		if err != nil {
			return total, fmt.Errorf("setting the damaged %s aside: %w", name, err)
		}
	}
	return total, nil
}

func copyFrom(to, from string, start int64) (int64, error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	if _, err := in.Seek(start, io.SeekStart); err != nil {
		return 0, err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, in)
	return n, errors.Join(err, out.Close())
}

// prune makes room in set-aside.
func (d *doctor) prune() error {
	root := filepath.Join(d.dir, asideDir)
	entries, err := os.ReadDir(root) // sorted by name, and so by time
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	total := int64(0)
	for i := len(entries) - 1; i >= 0; i-- {
		dir := filepath.Join(root, entries[i].Name())
		total += dirBytes(dir)
		if len(entries)-i < maxAside && total <= maxAsideBytes {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		d.note("%s was removed: at most %d such directories and %s are kept", dir, maxAside, humanize.IBytes(maxAsideBytes))
	}
	return nil
}

func dirBytes(dir string) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it is gone, then
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	return total
}
