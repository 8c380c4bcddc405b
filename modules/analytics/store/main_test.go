package store_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"go.uber.org/goleak"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// childEnv has the directory in which a copy of the test collects until it is killed.
const childEnv = "STORE_TEST_CHILD_DIR"

// smallDiskEnv has one that gets full.
const smallDiskEnv = "STORE_TEST_SMALL_DISK_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := collectForever(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if dir := os.Getenv(smallDiskEnv); dir != "" {
		if err := collectOnSmallDisk(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m,
		// A TSDB that does not open over damage leaves the goroutine of its log behind.
		goleak.IgnoreTopFunction("github.com/prometheus/prometheus/tsdb/wlog.(*WL).run"),
		// They go with the connections of the tests' own client.
		goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"),
	)
}

// collectForever commits one round after another, and prints the time of each that is
// committed.
func collectForever(dir string) error {
	s, err := store.OpenTSDB(store.TSDBOptions{Dir: dir})
	if err != nil {
		return err
	}
	fmt.Println("open")
	for {
		at := time.Now().UnixMilli()
		app := s.AppenderV2(context.Background())
		for k := range 100 {
			if _, err := app.Append(0, labels.FromStrings("__name__", "killed", "k", fmt.Sprint(k)), 0, at, float64(at), nil, nil, storage.AOptions{}); err != nil {
				return err
			}
		}
		if err := app.Commit(); err != nil {
			return err
		}
		fmt.Println(at)
		time.Sleep(2 * time.Millisecond)
	}
}
