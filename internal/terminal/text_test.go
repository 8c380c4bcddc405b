package terminal

import (
	"bytes"
	"errors"
	"os"
	"testing"
)

// What a terminal shows comes from configurations, backends and the network: it must not
// be able to do anything there.
func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"größe 1–2 …":                                             "größe 1–2 …",
		"a\x1b[2J\x07\rb\u202ec\xff\u200bd":                       "a?[2J??b?c??d",
		errors.Join(errors.New("one"), errors.New("two")).Error(): "one; two",
		"tab\there\x00\u009b":                                     "tab?here??",
		"":                                                        "",
	} {
		if got := Printable(text); got != want {
			t.Errorf("Printable(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestWhatIsNoTerminal(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if Is(new(bytes.Buffer)) || Is(file) {
		t.Error("a buffer or a file is taken for a terminal")
	}
}
