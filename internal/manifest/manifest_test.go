package manifest

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const text = `{"caddy_version": "v2.11.9", "module": "example.com/m", "version": "v0.1.0", "packages": ["modules/a", "modules/b"]}`

func TestFlags(t *testing.T) {
	m, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Flags("")
	if want := []string{"v2.11.9", "--with", "example.com/m/modules/a@v0.1.0", "--with", "example.com/m/modules/b@v0.1.0"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("flags %q (%v), want %q", got, err, want)
	}
	dir, _ := filepath.Abs("a dir")
	got, err = m.Flags("a dir")
	if want := []string{"v2.11.9", "--with", "example.com/m@v0.0.0=" + dir}; err != nil || !slices.Equal(got, want) {
		t.Errorf("flags %q (%v), want %q", got, err, want)
	}
}

func TestLineQuotesForAShell(t *testing.T) {
	if got, want := Line([]string{"v2.11.9", "--replace", "m=/a b/it's"}), `v2.11.9 --replace 'm=/a b/it'\''s'`; got != want {
		t.Errorf("line %s, want %s", got, want)
	}
}

func TestParseRefusesWhatCannotBeBuilt(t *testing.T) {
	for change, mention := range map[string]string{
		`"v2.11.9"|"2.11"`:              "caddy_version",
		`"v0.1.0"|"newest"`:             "version",
		`["modules/a", "modules/b"]|[]`: "no packages",
		`"modules/a"|"modules/a;b"`:     "import path",
		`"packages"|"pakages"`:          "pakages",
	} {
		from, to, _ := strings.Cut(change, "|")
		_, err := Parse([]byte(strings.Replace(text, from, to, 1)))
		if err == nil || !strings.Contains(err.Error(), mention) {
			t.Errorf("%s: error %v, want one that mentions %q", change, err, mention)
		}
	}
}

func TestBuilt(t *testing.T) {
	defer built.Store(nil)
	if _, err := Built(); !errors.Is(err, ErrNone) {
		t.Errorf("without a manifest: %v", err)
	}
	Register([]byte(text))
	if m, err := Built(); err != nil || m.Module != "example.com/m" {
		t.Errorf("built %+v, %v", m, err)
	}
}
