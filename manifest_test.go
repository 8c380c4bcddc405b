package lbpro

import (
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-lbpro/caddy-lbpro/internal/manifest"
)

// imports returns the import paths of a Go file that start with prefix.
func imports(t *testing.T, file, prefix string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, i := range f.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(p, prefix) {
			list = append(list, p)
		}
	}
	slices.Sort(list)
	return list
}

// xcaddy.json, imports.go and cmd/caddy/main.go name the same modules, and all that there
// are; and the Caddy version is that of go.mod.
func TestManifestNamesWhatIsBuilt(t *testing.T) {
	m, err := manifest.Built()
	if err != nil {
		t.Fatal(err)
	}
	want := m.Imports()
	slices.Sort(want)
	if got := imports(t, "imports.go", m.Module); !slices.Equal(got, want) {
		t.Errorf("imports.go imports\n%q, xcaddy.json has\n%q", got, want)
	}
	if got := imports(t, "cmd/caddy/main.go", m.Module); !slices.Equal(got, []string{m.Module}) {
		t.Errorf("cmd/caddy/main.go imports %q, want only %q, which takes all", got, m.Module)
	}
	sources, err := filepath.Glob("modules/*/*.go")
	if err != nil || len(sources) == 0 {
		t.Fatalf("no modules found: %v", err)
	}
	for _, s := range sources {
		text, err := os.ReadFile(s)
		if err != nil {
			t.Fatal(err)
		}
		if p := path.Join(m.Module, path.Dir(filepath.ToSlash(s))); strings.Contains(string(text), "caddy.RegisterModule(") && !slices.Contains(want, p) {
			t.Errorf("%s registers Caddy modules, but xcaddy.json lacks %s", s, p)
		}
	}
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if name := regexp.MustCompile(`(?m)^module (\S+)`).FindSubmatch(mod); name == nil || string(name[1]) != m.Module {
		t.Errorf("go.mod is of module %s, xcaddy.json of %s", name, m.Module)
	}
	version := regexp.MustCompile(`(?m)^\s*github\.com/caddyserver/caddy/v2 (\S+)`).FindSubmatch(mod)
	if version == nil || string(version[1]) != m.CaddyVersion {
		t.Errorf("go.mod has Caddy %s, xcaddy.json %s", version, m.CaddyVersion)
	}
}
