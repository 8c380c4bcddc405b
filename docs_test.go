package lbpro

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

// fence finds the fenced blocks of a page with their language.
var fence = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```")

func pages(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob("docs/*.md")
	if err != nil || len(list) == 0 {
		t.Fatalf("no pages in docs: %v", err)
	}
	return append(list, "README.md")
}

// TestSnippets adapts and validates every Caddyfile and JSON snippet of the docs, so that
// what people copy works.
func TestSnippets(t *testing.T) {
	found := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
			switch m[1] {
			case "caddyfile":
				found++
				out, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(m[2]), map[string]any{"filename": page})
				if err != nil {
					t.Errorf("%s: %v\n%s", page, err, m[2])
					continue
				}
				for _, w := range warnings {
					if !strings.Contains(w.Message, "not formatted") {
						t.Errorf("%s: %v\n%s", page, w, m[2])
					}
				}
				validate(t, page, out)
			case "json":
				if !json.Valid([]byte(m[2])) {
					t.Errorf("%s: not JSON:\n%s", page, m[2])
				}
				if strings.Contains(m[2], `"handler"`) {
					found++
					validate(t, page, []byte(`{"apps":{"http":{"servers":{"s":{"listen":[":0"],"routes":[{"handle":[`+m[2]+`]}]}}}}}`))
				}
			}
		}
	}
	if found == 0 {
		t.Fatal("no snippet was found: has the fence changed?")
	}
}

// validate provisions a configuration without starting it.
func validate(t *testing.T, page string, config []byte) {
	t.Helper()
	var c caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &c); err != nil {
		t.Errorf("%s: %v", page, err)
		return
	}
	if err := caddy.Validate(&c); err != nil {
		t.Errorf("%s: %v\n%s", page, err, config)
	}
}

// TestLinks looks for every page and file that the docs link to.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)`)
	for _, page := range append(pages(t), "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			}
		}
	}
}
