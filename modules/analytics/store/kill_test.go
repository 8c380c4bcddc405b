package store_test

import (
	"bufio"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// A process that is killed again and again while it collects comes up each time, and has
// everything that it had committed.
func TestTSDBKilled(t *testing.T) {
	rounds := 20
	if testing.Short() || raceEnabled {
		rounds = 5
	}
	dir := t.TempDir()
	committed := make(map[int64]bool)
	var first, last int64
	for i := range rounds {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		wait := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(out)
		if !lines.Scan() || lines.Text() != "open" {
			t.Fatalf("round %d: it does not come up: %q", i, lines.Text())
		}
		left := 5 + rand.IntN(40)
		for lines.Scan() {
			at, err := strconv.ParseInt(lines.Text(), 10, 64)
			if err != nil {
				break // cut short by the kill
			}
			committed[at] = true
			if first == 0 {
				first = at
			}
			last = at
			if left--; left == 0 {
				_ = cmd.Process.Kill()
			}
		}
		wait.Stop()
		_ = cmd.Wait()
	}
	s := openTSDB(t, dir)
	m, _, err := s.Range(t.Context(), `count_over_time(killed{k="42"}[1d])`, time.UnixMilli(last), time.UnixMilli(last), time.Second)
	if err != nil || len(m) != 1 {
		t.Fatalf("%v, %v", m, err)
	}
	// It may have committed one more than it could tell of in each round.
	if n := int(m[0].Floats[0].F); n < len(committed) || n > len(committed)+rounds*2 {
		t.Errorf("%d rounds were committed, and %d are there: %q", len(committed), n, s.Status().Notes)
	}
	if v := instant(t, s, `sum(count_over_time(killed[1d])) / count(count_over_time(killed[1d]))`, time.UnixMilli(last)); len(v) != 1 || v[0].F != m[0].Floats[0].F {
		t.Errorf("a commit is there whole or not at all: %v", v)
	}
	if st := s.Status(); !st.OK || !st.Oldest.Equal(time.UnixMilli(first)) {
		t.Errorf("from the first on (%v): %+v", time.UnixMilli(first), st)
	}
}
