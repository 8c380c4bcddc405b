package store_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

const damageSeries = 80

// history makes a directory with two blocks and a log that ends unclosed, as a killed
// process leaves it. It returns the time of the last sample.
func history(t *testing.T, dir string) time.Time {
	t.Helper()
	// Two blocks of two hours, cut by the TSDB itself.
	// Blocks are cut at even hours. Fifty minutes after one, there are two hours and fifty
	// minutes in the log, and some of that in mapped chunks.
	end := time.Now().Truncate(2 * time.Hour).Add(-70 * time.Minute)
	start := end.Add(-7 * time.Hour)
	db, err := tsdb.Open(dir, nil, nil, &tsdb.Options{WALSegmentSize: 32 << 10, MinBlockDuration: 2 * time.Hour.Milliseconds(), MaxBlockDuration: 2 * time.Hour.Milliseconds()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for at := start; !at.After(end); at = at.Add(time.Minute) {
		if at.Sub(start)%time.Hour == 0 {
			// Segments are left behind, and so a checkpoint is made.
			if err := db.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		app := db.AppenderV2(t.Context())
		for k := range damageSeries {
			if _, err := app.Append(0, labels.FromStrings("__name__", "damage", "k", fmt.Sprint(k)), 0, at.UnixMilli(), rand.Float64(), nil, nil, storage.AOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(filepath.Glob(filepath.Join(dir, "wal", "*")))
		}
	})
	if len(db.Blocks()) < 2 {
		t.Fatalf("%d blocks", len(db.Blocks()))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return end
}

func count(t *testing.T, s store.Store, at time.Time) float64 {
	t.Helper()
	v := instant(t, s, `sum(count_over_time(damage[10h]))`, at)
	if len(v) == 0 {
		return 0
	}
	return v[0].F
}

// damaged copies dir, damages the copy and opens it.
func damaged(t *testing.T, dir string, damage func(dir string)) *store.TSDB {
	t.Helper()
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	damage(copied)
	return openTSDB(t, copied)
}

func find(t *testing.T, dir, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("nothing fits %s (%v)", pattern, err)
	}
	return found
}

func flip(t *testing.T, name string, at func(size int) int) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[at(len(b))] ^= 1 << 4
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func middle(size int) int { return size / 2 }

func TestTSDBDamage(t *testing.T) {
	dir := t.TempDir()
	end := history(t, dir)
	whole := count(t, damaged(t, dir, func(string) {}), end)
	if whole != damageSeries*421 {
		t.Fatalf("%v samples before any damage", whole)
	}
	const blocks = "[0-9A-Z]*[0-9A-Z]"
	for _, c := range []struct {
		name   string
		damage func(dir string)
		note   string
		least  float64 // share of the samples that is still there
	}{
		{"a bit in a chunk", func(dir string) { flip(t, find(t, dir, blocks+"/chunks/000001")[0], middle) }, "block", .5},
		{"a bit in an index", func(dir string) { flip(t, find(t, dir, blocks+"/index")[0], middle) }, "block", .5},
		{"half an index", func(dir string) { cut(t, find(t, dir, blocks+"/index")[0], 2) }, "block", .5},
		{"half a file of chunks", func(dir string) { cut(t, find(t, dir, blocks+"/chunks/000001")[0], 2) }, "block", .5},
		{"an empty meta.json", func(dir string) { cut(t, find(t, dir, blocks+"/meta.json")[0], 0) }, "block", .5},
		{"all indexes", func(dir string) {
			for _, name := range find(t, dir, blocks+"/index") {
				cut(t, name, 3)
			}
		}, "block", .2},
		{"a bit in the log", func(dir string) { flip(t, biggest(t, dir, "wal/0*"), middle) }, "wal was damaged at byte", .5},
		{"half a log", func(dir string) { cut(t, biggest(t, dir, "wal/0*"), 2) }, "wal", .5},
		{"a bit in the first page of the end of the log", func(dir string) {
			flip(t, newest(t, dir), func(size int) int { return min(size, 32<<10) / 3 })
		}, "wal was damaged at byte", .5},
		{"the last write to the log", func(dir string) {
			name := newest(t, dir)
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			written := len(bytes.TrimRight(b, "\x00")) // pages end in zeros
			if err := os.Truncate(name, int64(written-50)); err != nil {
				t.Fatal(err)
			}
		}, "last write to the wal was cut short", .5},
		{"a checkpoint", func(dir string) { flip(t, find(t, dir, "wal/checkpoint*/0*")[0], middle) }, "checkpoint", .5},
		{"no checkpoint", func(dir string) {
			if err := os.RemoveAll(find(t, dir, "wal/checkpoint*")[0]); err != nil {
				t.Fatal(err)
			}
		}, "", .5},
		{"mapped chunks", func(dir string) {
			for _, name := range find(t, dir, "chunks_head/0*") {
				flip(t, name, middle)
			}
		}, "", .5},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := damaged(t, dir, c.damage)
			st := s.Status()
			if !st.OK {
				t.Errorf("it works: %+v", st)
			}
			if c.note != "" && !strings.Contains(strings.Join(st.Notes, "\n"), c.note) {
				t.Errorf("notes %q do not tell of the %s", st.Notes, c.note)
			}
			if notes := strings.Join(st.Notes, "\n"); strings.Contains(notes, "its 0 B") || c.note != "" && !strings.Contains(notes, filepath.Join(st.Location, "set-aside", "2")) {
				t.Errorf("notes %q do not tell where that is", st.Notes)
			}
			if got := count(t, s, end); got < whole*c.least {
				t.Errorf("%v of %v samples are kept: %q", got, whole, st.Notes)
			}
			// New samples go in, and stay.
			appendAll(t, s, func(app storage.AppenderV2) error {
				return put(app, end.Add(time.Minute), 7, "__name__", "after")
			})
			at := st.Location
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openTSDB(t, at)
			if v := instant(t, s, "after", end.Add(time.Minute)); len(v) != 1 {
				t.Errorf("what came after the repair is there: %v", v)
			}
			if st := s.Status(); len(st.Notes) != 0 {
				t.Errorf("the second start finds nothing: %q", st.Notes)
			}
		})
	}
}

func cut(t *testing.T, name string, by int) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	if by > 0 {
		size = info.Size() / int64(by)
	}
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
}

// newest is the last segment of the log that has something in it.
func newest(t *testing.T, dir string) (name string) {
	t.Helper()
	for _, f := range find(t, dir, "wal/0*") {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() == 0 { // it would be the end
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
			continue
		}
		name = f
	}
	return name
}

func biggest(t *testing.T, dir, pattern string) (name string) {
	t.Helper()
	size := int64(-1)
	for _, f := range find(t, dir, pattern) {
		if info, err := os.Stat(f); err == nil && info.Mode().IsRegular() && info.Size() > size {
			name, size = f, info.Size()
		}
	}
	return name
}

// Whatever bytes are damaged, the store opens, answers and takes samples.
func TestTSDBDamageAnywhere(t *testing.T) {
	dir := t.TempDir()
	end := history(t, dir)
	rounds := 60
	if testing.Short() || raceEnabled {
		rounds = 12
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range rounds {
		var what []string
		s := damaged(t, dir, func(dir string) {
			var files []string
			_ = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
				if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
					files = append(files, name)
				}
				return err
			})
			for range 1 + r.IntN(3) {
				name := files[r.IntN(len(files))]
				if r.IntN(3) == 0 {
					info, _ := os.Stat(name)
					if err := os.Truncate(name, r.Int64N(info.Size()+1)); err != nil {
						t.Fatal(err)
					}
				} else if info, _ := os.Stat(name); info.Size() > 0 {
					flip(t, name, r.IntN)
				}
				what = append(what, strings.TrimPrefix(name, dir))
			}
		})
		if v, _, err := s.Instant(t.Context(), `sum(count_over_time(damage[10h]))`, end); err != nil {
			t.Errorf("round %d, %v: %v, %v (%q)", i, what, v, err, s.Status().Notes)
		}
		appendAll(t, s, func(app storage.AppenderV2) error {
			return put(app, end.Add(time.Minute), 7, "__name__", "after")
		})
		if err := s.Close(); err != nil {
			t.Errorf("round %d, %v: %v", i, what, err)
		}
	}
}
