package lbpro

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// goldens returns Caddy's own adapt goldens, from its module in the module cache.
func goldens(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/caddyserver/caddy/v2").Output()
	if err != nil {
		t.Skipf("the go command cannot tell where Caddy's sources are: %v", err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "caddytest", "integration", "caddyfile_adapt")
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens in %s (%v)", dir, err)
	}
	return files
}

// directive matches the word where it stands as a directive, or in a comment.
var (
	directive = regexp.MustCompile(`(?m)(^|[\s{])reverse_proxy([ \t\n])`)
	comment   = regexp.MustCompile(`(?m)^\s*#.*$`)
)

// The upgrade from reverse_proxy is one word, and so is the way back: every golden of
// Caddy's own that uses the directive gives the same JSON with the word swapped, but for
// the name of the handler.
func TestUpgradeIsOneWord(t *testing.T) {
	used := 0
	for _, file := range goldens(t) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text, expected, ok := strings.Cut(strings.ReplaceAll(string(raw), "\r\n", "\n"), "----------")
		if !ok || !strings.Contains(string(raw), "reverse_proxy") {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			if !directive.MatchString(comment.ReplaceAllString(text, "")) {
				t.Skip("reverse_proxy comes from php_fastcgi or forward_auth here, which make stock handlers")
			}
			expected = strings.TrimSpace(expected)
			if strings.HasPrefix(expected, "{") && !strings.Contains(expected, `"reverse_proxy"`) {
				t.Skip("the word is an argument here, not the directive")
			}
			used++
			swapped := directive.ReplaceAllString(text, "${1}lbpro${2}")
			got, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(swapped), nil)
			if !strings.HasPrefix(expected, "{") {
				// The error is the same but for the directive's name; the lines of a
				// snippet that it may quote are in it already swapped.
				want := strings.ReplaceAll(expected, "'reverse_proxy'", "'lbpro'")
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error is %v, want one that contains %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var ours, stock any
			unmarshal(t, got, &ours)
			unmarshal(t, []byte(expected), &stock)
			n := 0
			eachHandler(ours, "lbpro", func(h map[string]any) {
				n++
				h["handler"] = "reverse_proxy"
				sameInBoth(t, h)
			})
			if n == 0 {
				t.Error("no lbpro handler came out")
			}
			if !reflect.DeepEqual(ours, stock) {
				t.Errorf("JSON differs by more than the name:\n%s\nwant\n%s", got, expected)
			}
		})
	}
	if used < 20 {
		t.Errorf("only %d goldens use the directive; they have moved, or the test does not find them", used)
	}
}

// sameInBoth checks that a handler's JSON means the same to lbpro and to reverse_proxy.
func sameInBoth(t *testing.T, h map[string]any) {
	t.Helper()
	config := make(map[string]any)
	for k, v := range h {
		if k != "handler" {
			config[k] = v
		}
	}
	in, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	var out [2]any
	for i, into := range []any{new(Handler), new(reverseproxy.Handler)} {
		dec := json.NewDecoder(bytes.NewReader(in))
		dec.DisallowUnknownFields()
		if err := dec.Decode(into); err != nil {
			t.Fatalf("%T does not take %s: %v", into, in, err)
		}
		back, err := json.Marshal(into)
		if err != nil {
			t.Fatal(err)
		}
		unmarshal(t, back, &out[i])
	}
	if !reflect.DeepEqual(out[0], out[1]) {
		t.Errorf("lbpro reads %v where reverse_proxy reads %v", out[0], out[1])
	}
}

func unmarshal(t *testing.T, raw []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
}

// eachHandler calls f with every handler of the name below v.
func eachHandler(v any, name string, f func(map[string]any)) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			eachHandler(x, name, f)
		}
	case map[string]any:
		for _, x := range v {
			eachHandler(x, name, f)
		}
		if v["handler"] == name {
			f(v)
		}
	}
}
