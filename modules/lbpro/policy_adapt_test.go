package lbpro

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// Each file in testdata/policies is a site's directives, a line of dashes, and what they
// adapt to: the handler's JSON, or the text of the error.
func TestPoliciesAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/policies/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, ok := strings.Cut(string(text), "\n----------\n")
			if !ok {
				t.Fatal("the file has no line of ten dashes")
			}
			want = strings.TrimSpace(want)
			got, err := adaptHandler(":8080 {\n" + input + "\n}\n")
			switch {
			case err != nil && strings.HasPrefix(want, "{"):
				t.Fatalf("adapting: %v", err)
			case err != nil:
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error is\n%v\nwant it to contain\n%s", err, want)
				}
			case got != want:
				t.Errorf("adapts to\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// adaptHandler adapts a Caddyfile with one directive and returns its handler as JSON.
func adaptHandler(text string) (string, error) {
	out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return "", err
	}
	var config struct {
		Apps struct {
			HTTP struct {
				Servers map[string]struct {
					Routes []struct {
						Handle []json.RawMessage
					}
				}
			}
		}
	}
	if err := json.Unmarshal(out, &config); err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = json.Indent(&b, config.Apps.HTTP.Servers["srv0"].Routes[0].Handle[0], "", "\t")
	return b.String(), err
}
