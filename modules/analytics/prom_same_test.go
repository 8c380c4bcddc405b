package analytics

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// startPrometheus runs the Prometheus that is installed, until the test ends, and returns
// its address.
func startPrometheus(t *testing.T, config, dir string) string {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is not installed")
	}
	file := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := apiAddr(t)
	var log bytes.Buffer
	cmd := exec.Command(program, "--config.file="+file, "--storage.tsdb.path="+dir, "--storage.tsdb.retention.time=10y", "--web.listen-address="+addr)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus says:\n%s", log.String())
		}
	})
	apiEventually(t, "prometheus is ready", func() bool {
		res, err := http.Get("http://" + addr + "/-/ready")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == 200
	})
	return addr
}

// sameSamples are in OpenMetrics, one every 15 s, a little beside whole seconds: at the very
// edge of a range versions of Prometheus differ.
func sameSamples(begin time.Time) []byte {
	var b bytes.Buffer
	const points = 240
	line := func(name string, value func(i int) float64) {
		for i := range points {
			fmt.Fprintf(&b, "%s %s %.3f\n", name, strconv.FormatFloat(value(i), 'g', -1, 64), float64(begin.UnixMilli())/1000+3.7+15*float64(i))
		}
	}
	b.WriteString("# TYPE requests counter\n")
	for _, backend := range []string{"a", "b", "ünï \\\"quoted\\\" \\\\ <tag>"} {
		line(`requests_total{backend="`+backend+`",pool="app"}`, func(i int) float64 { return float64(i * len(backend) % 300) })
	}
	b.WriteString("# TYPE load gauge\n")
	for _, b := range []string{"a", "b", "c"} {
		line(`load{backend="`+b+`"}`, func(i int) float64 { return float64(i%17) * float64(b[0]) })
	}
	b.WriteString("# TYPE tiny gauge\n")
	line("tiny", func(i int) float64 { return 1e-9 * float64(i) })
	b.WriteString("# TYPE huge gauge\n")
	line("huge", func(i int) float64 { return 1e22 * float64(i) })
	b.WriteString("# TYPE latency_seconds histogram\n")
	for le, share := range map[string]int{"0.1": 5, "1": 8, "+Inf": 10} {
		line(`latency_seconds_bucket{le="`+le+`"}`, func(i int) float64 { return float64(i * share) })
	}
	b.WriteString("# EOF\n")
	return b.Bytes()
}

// Over the same data the API answers as a Prometheus that somebody else has built.
func TestPromSaysTheSame(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed")
	}
	dir := t.TempDir()
	begin := time.Now().Add(-3 * time.Hour).Truncate(time.Hour)
	text := filepath.Join(dir, "samples.txt")
	if err := os.WriteFile(text, sameSamples(begin), 0o600); err != nil {
		t.Fatal(err)
	}
	ours, theirs := filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
	for _, d := range []string{ours, theirs} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if out, err := exec.CommandContext(ctx, tool, "tsdb", "create-blocks-from", "openmetrics", text, d).CombinedOutput(); err != nil {
			t.Fatalf("promtool: %v\n%s", err, out)
		}
	}
	prometheus := startPrometheus(t, "scrape_configs: []\n", theirs)
	s, err := store.OpenTSDB(store.TSDBOptions{Dir: ours})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	withApps(t, map[string]any{"analytics": &fakeEngine{store: s}})
	c := startAPICaddy(t, "", "analytics_api")

	at := begin.Add(40 * time.Minute)
	span := url.Values{"start": {fmt.Sprint(begin.Unix())}, "end": {at.Format(time.RFC3339)}}
	compare := func(path string, q url.Values) {
		t.Helper()
		for _, method := range []string{"GET", "POST"} {
			ask := func(addr string) (int, promAnswer) {
				if method == "GET" {
					r := c.ask(method, addr+"/api/v1/"+path+"?"+q.Encode(), "", nil)
					return r.StatusCode, decodeProm(t, r)
				}
				r := c.ask(method, addr+"/api/v1/"+path, q.Encode(), nil)
				return r.StatusCode, decodeProm(t, r)
			}
			if method == "POST" && strings.HasPrefix(path, "label/") {
				continue // no such thing there either
			}
			ourStatus, our := ask(c.site)
			theirStatus, their := ask(prometheus)
			if ourStatus != theirStatus || our.Status != their.Status || our.ErrorType != their.ErrorType {
				t.Errorf("%s %s %v: %d %s %s %s, Prometheus %d %s %s", method, path, q, ourStatus, our.Status, our.ErrorType, our.Error, theirStatus, their.Status, their.ErrorType)
			} else if a, b := canonical(t, our.Data), canonical(t, their.Data); a != b {
				t.Errorf("%s %s %v:\n%.2000s\nPrometheus:\n%.2000s", method, path, q, a, b)
			}
		}
	}
	for _, query := range []string{
		"1", "-Inf", "NaN", `"text \" ü"`, "1 > bool 2", "vector(1)", "time()", "pi()", "requests_total", "load > 500", "nothing",
		"rate(requests_total[5m])", "sum by (pool) (increase(requests_total[10m]))", "sum(load)", "max by (backend) (load)", "count(load)",
		"topk(1, load)", "sort_desc(load)", "quantile(0.5, load)", "tiny", "huge", "load offset 5m", "load @ " + fmt.Sprint(begin.Unix()+600),
		"max_over_time(load[9m31s:1m])", "histogram_quantile(0.9, rate(latency_seconds_bucket[5m]))", "absent(nothing{a=\"b\"})",
		`label_replace(load, "x", "$1", "backend", "(.*)")`, `{__name__=~"load|tiny"}`, "load and on (backend) requests_total", "changes(load[5m])",
		"load[5m]", "(load[5m])", `requests_total{backend="a"}[3m] offset 10m`, "sum(load)[3m31s:1m]", "nothing[5m]",
		"sum(", "foo{", "rate(load)", "load[5m", "", "unknown_function(load)", "sum(load) by", "load == load{", "5 + \"a\"",
	} {
		compare("query", url.Values{"query": {query}, "time": {fmt.Sprint(at.Unix())}})
		q := url.Values{"query": {query}, "step": {"45"}}
		for k, v := range span {
			q[k] = v
		}
		compare("query_range", q)
	}
	q := func(pairs ...string) url.Values {
		v := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			v.Add(pairs[i], pairs[i+1])
		}
		return v
	}
	for _, v := range []url.Values{{}, span, q("match[]", "load"), q("match[]", "load", "match[]", `requests_total{pool="app"}`), q("match[]", "nothing"), q("match[]", "{"), q("start", "x")} {
		for _, path := range []string{"labels", "label/backend/values", "label/__name__/values", "label/none/values", "series"} {
			compare(path, v)
		}
	}
	for _, v := range []url.Values{
		q("query", "load", "time", "yesterday"), q("query", "load", "timeout", "x"), q("query", "load", "time", "1e3"),
		q("query", "load", "start", "1", "end", "0", "step", "1"), q("query", "load", "start", "0", "end", "1", "step", "0"), q("query", "load", "start", "0", "end", "1", "step", "-1"),
		q("query", "load", "start", "0", "end", "1", "step", "1y"), q("query", "load", "start", "0", "end", "1"),
	} {
		compare("query_range", v)
		if !v.Has("start") {
			compare("query", v)
		}
	}
}

func decodeProm(t *testing.T, r apiReply) promAnswer {
	t.Helper()
	var a promAnswer
	if err := json.Unmarshal([]byte(r.body), &a); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return a
}

// canonical writes data with lists of series in one order, as theirs is not defined.
func canonical(t *testing.T, data json.RawMessage) string {
	t.Helper()
	var result struct {
		ResultType string            `json:"resultType"`
		Result     []json.RawMessage `json:"result"`
	}
	var list []json.RawMessage
	var kind string
	switch {
	case len(data) == 0:
		return ""
	case json.Unmarshal(data, &list) == nil:
	case json.Unmarshal(data, &result) == nil:
		kind, list = result.ResultType, result.Result
	default:
		t.Fatalf("data is %s", data)
	}
	lines := make([]string, len(list))
	for i, e := range list {
		var b bytes.Buffer
		var v any
		if err := json.Unmarshal(e, &v); err != nil {
			t.Fatal(err)
		}
		if err := json.NewEncoder(&b).Encode(v); err != nil {
			t.Fatal(err)
		}
		lines[i] = b.String()
	}
	if kind == "vector" || kind == "matrix" || kind == "" {
		slices.Sort(lines)
	}
	return kind + "\n" + strings.Join(lines, "")
}
