// Package recordings finds the datagrams of real exporters that tests decode. They live
// beside the repository and are not part of it.
package recordings

import (
	"os"
	"path/filepath"
	"testing"
)

// Dir returns their folder, empty where there is none.
func Dir() string {
	dir, err := os.Getwd()
	for err == nil {
		candidate := filepath.Join(dir, "shared", "fixtures", "flows")
		if _, err := os.Stat(filepath.Join(candidate, "expected.json")); err == nil {
			return candidate
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	return ""
}

// Need returns their folder, and skips the test where there is none.
func Need(t testing.TB) string {
	t.Helper()
	dir := Dir()
	if dir == "" {
		t.Skip("shared/fixtures/flows is not beside this repository")
	}
	return dir
}
