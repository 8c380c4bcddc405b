package analytics

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
)

// Every metric that a signal of ours names is one that the modules emit: it stands in
// their source. (The rooms forbid to import them.)
func TestSignalsNameMetricsThatAreEmitted(t *testing.T) {
	source := map[string]string{"lbpro": "", "flowmaster": ""}
	for module := range source {
		files, err := filepath.Glob("../" + module + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("no source of %s: %v", module, err)
		}
		for _, f := range files {
			if !strings.HasSuffix(f, "_test.go") {
				text, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				source[module] += string(text)
			}
		}
	}
	name := regexp.MustCompile(`^caddy_(lbpro|flowmaster)_(.+)$`)
	http := []string{"requests_total", "requests_in_flight", "request_duration_seconds_count", "request_duration_seconds_sum", "request_duration_seconds_bucket",
		"response_duration_seconds_count", "response_duration_seconds_sum", "response_duration_seconds_bucket", "response_size_bytes_sum"}
	n := 0
	for _, l := range signalLists {
		for _, s := range l.signals {
			expr, err := promParser.ParseExpr(expand(s.Expr, time.Second))
			if err != nil {
				t.Fatal(err)
			}
			parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
				v, ok := node.(*parser.VectorSelector)
				if !ok {
					return nil
				}
				n++
				if rest, ok := strings.CutPrefix(v.Name, "caddy_http_"); ok {
					if !slices.Contains(http, rest) { // TestEndToEnd sees them with values
						t.Errorf("%s:%s names %s, which Caddy does not have", l.pipeline, s.Name, v.Name)
					}
					return nil
				}
				m := name.FindStringSubmatch(v.Name)
				if m == nil {
					t.Errorf("%s:%s names %s, of no module of ours", l.pipeline, s.Name, v.Name)
					return nil
				}
				found := false
				for _, suffix := range []string{"", "_sum", "_count", "_bucket"} {
					base, ok := strings.CutSuffix(m[2], suffix)
					found = found || ok && strings.Contains(source[m[1]], `"`+base+`"`)
					host, isHost := strings.CutPrefix(base, "host_")
					found = found || ok && isHost && strings.Contains(source[m[1]], `hostDesc("`+host+`"`)
				}
				if !found {
					t.Errorf("%s:%s names %s, which %s does not emit", l.pipeline, s.Name, v.Name, m[1])
				}
				return nil
			})
		}
	}
	if n < 100 {
		t.Errorf("only %d names were looked at", n)
	}
}
