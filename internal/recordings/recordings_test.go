package recordings

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDirIsFoundFromBelow(t *testing.T) {
	root := t.TempDir()
	want, below := filepath.Join(root, "shared", "fixtures", "flows"), filepath.Join(root, "repo", "a", "b")
	for _, dir := range []string{want, below} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(below)
	if got := Dir(); got == want {
		t.Errorf("an empty folder is taken for %s", got)
	}
	if err := os.WriteFile(filepath.Join(want, "expected.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Need(t); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
