package store_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// smallDisk is a file system of its own of a few megabytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("a file system in memory is mounted on Linux only")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("a small file system cannot be mounted here, which takes root: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// fill takes all the room that is left.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := bytes.Repeat([]byte{1}, 64<<10); len(block) > 0; block = block[:len(block)/2] {
		for err = error(nil); err == nil; {
			_, err = f.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
}

// Of so many series a round is longer than a page of the log, so that a write that fails
// leaves half a record.
const smallDiskSeries = 4000

// collectOnSmallDisk commits rounds of series, some of them new in each, until it is killed, and
// prints of each whether it was taken.
func collectOnSmallDisk(dir string) error {
	s, err := store.OpenTSDB(store.TSDBOptions{Dir: dir})
	if err != nil {
		return err
	}
	fmt.Println("open")
	rounds := time.NewTicker(2 * time.Millisecond) // each has a time of its own
	defer rounds.Stop()
	for round := 0; ; round++ {
		at := time.Now().UnixMilli()
		app := s.AppenderV2(context.Background())
		for k := range smallDiskSeries {
			name := strconv.Itoa(k)
			if k >= smallDiskSeries-10 {
				name = fmt.Sprint(k, "-", round/3)
			}
			if _, err := app.Append(0, labels.FromStrings("__name__", "full", "k", name), 0, at, math.Sqrt(float64(at)*float64(k)), nil, nil, storage.AOptions{}); err != nil {
				return err
			}
		}
		if err := app.Commit(); err == nil {
			fmt.Println("taken", at)
		} else {
			fmt.Println("refused", at)
		}
		<-rounds.C
	}
}

// A disk that is full and then is not costs what was refused meanwhile, and nothing else,
// even if the process is killed afterwards.
func TestTSDBFullDiskThenKilled(t *testing.T) {
	disk := smallDisk(t, "64m")
	dir, ballast := filepath.Join(disk, "tsdb"), filepath.Join(disk, "ballast")
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), smallDiskEnv+"="+dir)
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() }).Stop()
	taken := make(map[int64]bool)
	var last int64
	lines := bufio.NewScanner(out)
	// until reads on until there were n in a row with the outcome.
	until := func(outcome string, n int) {
		t.Helper()
		for row := 0; row < n; {
			if !lines.Scan() {
				_ = cmd.Wait()
				t.Fatalf("it ended: %s", log.String())
			}
			got, when, _ := strings.Cut(lines.Text(), " ")
			at, _ := strconv.ParseInt(when, 10, 64)
			if got == "taken" {
				taken[at] = true
				last = at
			}
			if row++; got != outcome {
				row = 0
			}
		}
	}
	for range 3 {
		until("taken", 20)
		fill(t, ballast)
		until("refused", 5)
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}
	until("taken", 20)
	_ = cmd.Process.Kill()
	for lines.Scan() {
		if got, when, _ := strings.Cut(lines.Text(), " "); got == "taken" {
			if at, err := strconv.ParseInt(when, 10, 64); err == nil && len(when) == 13 {
				taken[at], last = true, at
			}
		}
	}
	_ = cmd.Wait()

	s := openTSDB(t, dir)
	defer s.Close() // before the disk goes
	st := s.Status()
	if !st.OK {
		t.Errorf("it works: %+v", st)
	}
	m, _, err := s.Range(t.Context(), `count_over_time(full{k=~"[0-9]+"}[1h])`, time.UnixMilli(last), time.UnixMilli(last), time.Second)
	if err != nil || len(m) != smallDiskSeries-10 {
		t.Fatalf("%d series of %d, %v: %q", len(m), smallDiskSeries-10, err, st.Notes)
	}
	for _, series := range m {
		// What was committed as it was killed could not be told of.
		if n := int(series.Floats[0].F); n < len(taken) || n > len(taken)+2 {
			t.Fatalf("%v: %d were taken, and %d are there: %q", series.Metric, len(taken), n, st.Notes)
		}
	}
	if v := instant(t, s, `sum(count_over_time(full{k=~".*-.*"}[1h]))`, time.UnixMilli(last)); len(v) != 1 || v[0].F < float64(10*len(taken)) {
		t.Errorf("%d samples of series that came meanwhile, and there are %v", 10*len(taken), v)
	}
}

// What cannot be put into a block is told, and until when.
func TestTSDBUpkeepFails(t *testing.T) {
	disk := smallDisk(t, "40m")
	s := openTSDB(t, filepath.Join(disk, "tsdb"))
	defer s.Close() // before the disk goes
	end := base().Add(-time.Hour)
	for i := range 60 * 5 { // five hours, of which a block is due
		appendAll(t, s, func(app storage.AppenderV2) error {
			return put(app, end.Add(time.Duration(i-300)*time.Minute), float64(i), "__name__", "unkept")
		})
	}
	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)
	s.Upkeep()
	if st := s.Status(); !strings.Contains(st.Problem, "blocks") || !strings.Contains(st.Problem, "max_size") {
		t.Errorf("there is no room for a block: %+v", st)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.Upkeep()
	if st := s.Status(); st.Problem != "" {
		t.Errorf("now there is: %+v", st)
	}
	if blocks := find(t, filepath.Join(disk, "tsdb"), "[0-9A-Z]*[0-9A-Z]/meta.json"); len(blocks) == 0 {
		t.Error("no block was cut")
	}
	if v := instant(t, s, `count_over_time(unkept[6h])`, end); len(v) != 1 || v[0].F != 300 {
		t.Errorf("all is there: %v", v)
	}
}

// Should the disk fill up just when chunks are moved to it, where the TSDB panics, they stay
// in memory and everything goes on.
func TestTSDBChunksOnFullDisk(t *testing.T) {
	disk := smallDisk(t, "40m")
	dir, ballast := filepath.Join(disk, "tsdb"), filepath.Join(disk, "ballast")
	s := openTSDB(t, dir)
	defer s.Close() // before the disk goes
	end := base().Add(-time.Hour)
	const rounds = 60 * 5
	for i := range rounds {
		appendAll(t, s, func(app storage.AppenderV2) error {
			return put(app, end.Add(time.Duration(i-rounds)*time.Minute), float64(i), "__name__", "mapped")
		})
	}
	fill(t, ballast)
	if err := s.MapChunks(); err != nil {
		t.Fatal(err)
	}
	if st := s.Status(); !st.OK || !strings.Contains(st.Problem, "memory") {
		t.Errorf("it is told: %+v", st)
	}
	whole := func(when string) {
		t.Helper()
		if v := instant(t, s, `count_over_time(mapped[6h])`, end); len(v) != 1 || v[0].F != rounds {
			t.Errorf("%s: %v", when, v)
		}
	}
	whole("in memory")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.Upkeep()
	whole("in blocks")
	appendAll(t, s, func(app storage.AppenderV2) error { return put(app, end.Add(time.Minute), 1, "__name__", "after") })
	closeNow(t, s)
	s = openTSDB(t, dir)
	defer s.Close()
	whole("after a restart")
	// The end moves chunks too.
	for i := range rounds {
		appendAll(t, s, func(app storage.AppenderV2) error {
			return put(app, end.Add(time.Duration(i)*time.Second), float64(i), "__name__", "last")
		})
	}
	fill(t, ballast)
	// What is left of the last page of the log cannot be written, which loses nothing.
	if err := s.Close(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s = openTSDB(t, dir)
	defer s.Close()
	whole("after an end on a full disk")
	if v := instant(t, s, `count_over_time(last[1h])`, end.Add(rounds*time.Second)); len(v) != 1 || v[0].F != rounds {
		t.Errorf("after an end on a full disk: %v", v)
	}
	if st := s.Status(); !st.OK || st.Problem != "" || len(st.Notes) != 0 {
		t.Errorf("all is well again: %+v", st)
	}
}
