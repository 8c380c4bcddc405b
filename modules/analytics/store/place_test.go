package store_test

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// A directory that cannot be made or written is told as that, with the way out, and not as
// one that another process has.
func TestPlaceThatCannotBeWritten(t *testing.T) {
	const nobodys = "/sys/kernel" // where not even root makes a file
	if _, err := os.Stat(nobodys); err != nil || runtime.GOOS != "linux" {
		t.Skip("no directory is known here in which nobody can write")
	}
	for _, dir := range []string{nobodys, nobodys + "/analytics"} {
		_, tsdb := store.OpenTSDB(store.TSDBOptions{Dir: dir})
		_, remote := store.OpenRemote(store.RemoteOptions{Dir: dir, URL: "http://127.0.0.1:9"})
		for _, err := range []error{tsdb, remote} {
			if err == nil || !strings.Contains(err.Error(), "right to write") || !strings.Contains(err.Error(), "another dir") ||
				strings.Contains(err.Error(), "another process") {
				t.Errorf("%s: %v", dir, err)
			}
		}
	}
}
