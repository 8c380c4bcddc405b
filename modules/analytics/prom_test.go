package analytics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/scrape"
)

// at is a moment of a testStore as a parameter.
func atSample(i int) string {
	return strconv.FormatInt(apiEpoch.Add(time.Duration(i)*10*time.Second).Unix(), 10)
}

// promAnswer is an answer of the API in Prometheus' format.
type promAnswer struct {
	Status    string
	Data      json.RawMessage
	ErrorType string
	Error     string
	Warnings  []string
}

// sameJSON compares the data of an answer.
func (a promAnswer) want(t *testing.T, what, want string) {
	t.Helper()
	if a.Status != "success" || string(a.Data) != want {
		t.Errorf("%.100s: %s %s %s\nwant data %s", what, a.Status, a.Error, a.Data, want)
	}
}

// The answers are byte for byte in Prometheus' format.
func TestPromFormat(t *testing.T) {
	c, _ := startFake(t, "analytics_api")
	at := atSample(2)
	for path, want := range map[string]string{
		"query?query=1%2B1&time=" + at:                  `{"resultType":"scalar","result":[1777636820,"2"]}`,
		"query?query=(%22hello%22)&time=" + at + ".5":   `{"resultType":"string","result":[1777636820.500,"hello"]}`,
		"query?query=nothing&time=" + at:                `{"resultType":"vector","result":[]}`,
		"query?query=sum(requests_total)&time=" + at:    `{"resultType":"vector","result":[{"metric":{},"value":[1777636820,"120"]}]}`,
		"query?query=requests_total&limit=1&time=" + at: `{"resultType":"vector","result":[{"metric":{"__name__":"requests_total","backend":"b0","pool":"app"},"value":[1777636820,"20"]}]}`,
		"query?query=odd&time=" + at:                    `{"resultType":"vector","result":[{"metric":{"__name__":"odd","text":"<script>\"` + "\u202e" + `\n"},"value":[1777636820,"+Inf"]}]}`,
		"query?query=latency_seconds&time=2026-05-01T12:00:00Z": `{"resultType":"vector","result":[{"metric":{"__name__":"latency_seconds","pool":"app"},"histogram":[1777636800,{"count":"6","sum":"18.5","buckets":[` +
			`[3,"-0.001","0.001","1"],[0,"0.7071067811865475","1","2"],[0,"1","1.414213562373095","3"]]}]}]}`,
		"query_range?query=requests_total{backend=%22b1%22}&step=10&start=" + atSample(0) + "&end=" + at: `{"resultType":"matrix","result":[{"metric":{"__name__":"requests_total","backend":"b1","pool":"app"},"values":[[1777636800,"0"],[1777636810,"20"],[1777636820,"40"]]}]}`,
		"query_range?query=vector(NaN)&step=5m&start=" + at + "&end=" + at:                               `{"resultType":"matrix","result":[{"metric":{},"values":[[1777636820,"NaN"]]}]}`,
		"query_range?query=nothing&step=1m&start=" + at + "&end=" + at:                                   `{"resultType":"matrix","result":[]}`,
		"labels":                                `["__name__","backend","pool","text"]`,
		"labels?match[]=latency_seconds":        `["__name__","pool"]`,
		"label/backend/values":                  `["b0","b1","b2"]`,
		"label/backend/values?limit=2":          `["b0","b1"]`,
		"label/nothing/values":                  `[]`,
		"series?match[]=requests_total&limit=1": `[{"__name__":"requests_total","backend":"b0","pool":"app"}]`,
		"format_query?query=sum(rate(up[5m]))":  `"sum(rate(up[5m]))"`,
	} {
		var a promAnswer
		r := c.get("/api/v1/"+path, 200, &a)
		if strings.Contains(path, "<") {
			continue
		}
		a.want(t, path, strings.ReplaceAll(strings.ReplaceAll(want, "<", unescaped(r.body, "<")), ">", unescaped(r.body, ">")))
	}
	var a promAnswer
	c.get("/api/v1/label/backend/values?limit=2", 200, &a)
	if len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], "truncated") {
		t.Errorf("a list that was cut has warnings %q", a.Warnings)
	}
	form := url.Values{"query": {"sum(requests_total)"}, "time": {at}}.Encode()
	c.ask("POST", c.site+"/api/v1/query", form, nil).check(t, "POST", 200, &a)
	a.want(t, "POST", `{"resultType":"vector","result":[{"metric":{},"value":[1777636820,"120"]}]}`)
	if r := c.ask("HEAD", c.site+"/api/v1/query?query=1", "", nil); r.StatusCode != 200 || r.body != "" {
		t.Errorf("HEAD: %d %q", r.StatusCode, r.body)
	}
}

// unescaped is how an answer writes a character that need not be escaped in JSON.
func unescaped(body, char string) string {
	if escape := fmt.Sprintf(`\u%04x`, char[0]); strings.Contains(body, escape) {
		return escape
	}
	return char
}

// What cannot be answered has the status and type that clients know.
func TestPromErrors(t *testing.T) {
	c, e := startFake(t, "analytics_api")
	e.limits = QueryLimits{MaxPoints: 100, MaxRange: caddy.Duration(time.Hour)}
	for _, tt := range []struct {
		path   string
		status int
		kind   string
		words  string
	}{
		{"query", 400, "bad_data", "query is missing"},
		{"query?query=sum(", 400, "bad_data", "parse error"},
		{"query?query=up&time=soon", 400, "bad_data", "time"},
		{"query?query=up&time=NaN", 400, "bad_data", "time"},
		{"query?query=up&timeout=-1", 400, "bad_data", "timeout"},
		{"query?query=up&limit=-1", 400, "bad_data", "limit"},
		{"query?query=up&query=%zz", 400, "bad_data", "parameters"},
		{"query?query=up[2h]", 422, "execution", "max_range"},
		{"query?query=max_over_time(up[2h])", 422, "execution", "max_range"},
		{"query?query=max_over_time(up[30m:1m]%20offset%202h)", 422, "execution", "max_range"},
		{"query_range?query=up&start=0&end=1", 400, "bad_data", "step"},
		{"query_range?query=up&start=2&end=1&step=1", 400, "bad_data", "before"},
		{"query_range?query=up&start=0&end=1&step=0", 400, "bad_data", "step"},
		{"query_range?query=up&start=0&end=1&step=1e-9", 400, "bad_data", "step"},
		{"query_range?query=up[5m]&start=0&end=1&step=1", 400, "bad_data", "range query"},
		{"query_range?query=up&start=0&end=101&step=1", 422, "execution", "100 points"},
		{"query_range?query=up&start=-1e300&end=1e300&step=1", 422, "execution", "100 points"},
		{"query_range?query=up&start=0&end=9000&step=100", 422, "execution", "max_range"},
		{"series", 400, "bad_data", "match[]"},
		{"series?match[]={a=~%22.*%22}", 400, "bad_data", "non-empty"},
		{"labels?start=9&end=1", 400, "bad_data", "before"},
		{"label/%ff/values", 400, "bad_data", "label name"},
		{"admin/tsdb/snapshot", 404, "not_found", "/api/v1/query"},
	} {
		var a promAnswer
		c.get("/api/v1/"+tt.path, tt.status, &a)
		if a.Status != "error" || a.ErrorType != tt.kind || !strings.Contains(a.Error, tt.words) {
			t.Errorf("%.60s: %+v, want %s with %q", tt.path, a, tt.kind, tt.words)
		}
	}
	// Up to the limit itself it is answered, as Grafana goes there.
	c.get("/api/v1/query_range?query=up&start=0&end=100&step=1", 200, nil)
	c.ask("POST", c.site+"/api/v1/query", "query=1", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }).check(t, "POST", 415, nil)
	c.ask("POST", c.site+"/api/v1/query", "query="+strings.Repeat("1", maxParamBytes+1), nil).check(t, "POST", 400, nil)
	c.ask("POST", c.site+"/api/v1/query", "query="+strings.Repeat("1", maxFormBytes), nil).check(t, "POST", 413, nil)
	if r := c.ask("POST", c.site+"/api/v1/metadata", "", nil).check(t, "POST", 405, nil); r.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("Allow: %q", r.Header.Get("Allow"))
	}
}

// A query that takes too long ends, and says so; one whose client is gone ends too.
func TestPromQueriesEnd(t *testing.T) {
	c, e := startFake(t, "analytics_api")
	var ended atomic.Int64
	begun := make(chan struct{}, 1)
	e.store.(*testStore).before = func(ctx context.Context) {
		begun <- struct{}{}
		<-ctx.Done()
		ended.Add(1)
	}
	var a promAnswer
	c.get("/api/v1/query?query=up&timeout=50ms", 503, &a)
	if a.ErrorType != "timeout" || !strings.Contains(a.Error, "timeout") {
		t.Errorf("%+v", a)
	}
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+c.site+"/api/v1/query?query=up", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-begun
		cancel()
	}()
	if res, err := http.DefaultClient.Do(r); err == nil {
		res.Body.Close()
		t.Error("it was answered")
	}
	apiEventually(t, "the query ends when its client goes", func() bool { return ended.Load() == 2 })
}

func apiEventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

// Only so many queries run at a time; a few wait, and the rest is turned away.
func TestPromConcurrency(t *testing.T) {
	c, e := startFake(t, "analytics_api")
	const places = 2
	e.limits.MaxConcurrent = places
	before := map[string]float64{}
	for _, reason := range []string{refusedBusy, refusedTimeout} {
		before[reason] = testutil.ToFloat64(apiRefused.WithLabelValues(reason))
	}
	var running, most atomic.Int64
	release := make(chan struct{})
	e.store.(*testStore).before = func(ctx context.Context) {
		if n := running.Add(1); n > most.Load() {
			most.Store(n)
		}
		<-release
		running.Add(-1)
	}
	waiting := func() int {
		queryGate.mu.Lock()
		defer queryGate.mu.Unlock()
		return len(queryGate.queue)
	}
	var wg sync.WaitGroup
	statuses := make(chan int, 100)
	for range places * (1 + waitingPerPlace) {
		wg.Go(func() { statuses <- c.ask("GET", c.site+"/api/v1/query?query=up", "", nil).StatusCode })
	}
	apiEventually(t, "all places and the queue are taken", func() bool {
		return running.Load() == places && waiting() == places*waitingPerPlace
	})
	var a promAnswer
	if r := c.get("/api/v1/query?query=up", 429, &a); r.Header.Get("Retry-After") == "" || !strings.Contains(a.Error, "max_concurrent") {
		t.Errorf("%v: %+v", r.Header, a)
	}
	// One that waits gives up when its time is over, and leaves no trace in the queue.
	for range 2 {
		release <- struct{}{}
	}
	apiEventually(t, "the queue moves on", func() bool { return waiting() == places*waitingPerPlace-2 })
	c.get("/api/v1/query?query=up&timeout=20ms", 503, &a)
	if a.ErrorType != "timeout" || waiting() != places*waitingPerPlace-2 {
		t.Errorf("%+v, %d wait", a, waiting())
	}
	close(release)
	wg.Wait()
	close(statuses)
	for s := range statuses {
		if s != 200 {
			t.Errorf("status %d", s)
		}
	}
	if n := most.Load(); n != places {
		t.Errorf("%d ran at a time, want %d", n, places)
	}
	for _, reason := range []string{refusedBusy, refusedTimeout} {
		if n := testutil.ToFloat64(apiRefused.WithLabelValues(reason)) - before[reason]; n != 1 {
			t.Errorf("%v are counted as turned away, %s", n, reason)
		}
	}
	apiEventually(t, "all places are free", func() bool { return queryGate.taken() == 0 })
}

// promtool asks a site and the admin API.
func TestPromtool(t *testing.T) {
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("promtool is not installed")
	}
	c, _ := startFake(t, "analytics_api")
	run := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, "promtool", args...).CombinedOutput()
		if err != nil {
			t.Errorf("promtool %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	for _, server := range []string{"http://" + c.site, "http://" + c.admin + "/analytics"} {
		for _, tt := range []struct {
			args []string
			want string
		}{
			{[]string{"query", "instant", "--time=" + atSample(2), server, "sum by (pool) (requests_total)"}, `{pool="app"} => 120 @[1777636820]`},
			{[]string{"query", "instant", "--time=" + atSample(2), server, "1+1"}, "scalar: 2 @[1777636820]"},
			{[]string{"query", "range", "--start=" + atSample(0), "--end=" + atSample(2), "--step=10s", server, `requests_total{backend="b2"}`}, "60 @[1777636820]"},
			{[]string{"query", "series", "--match=requests_total", "--start=" + atSample(0), "--end=" + atSample(9), server}, `{__name__="requests_total", backend="b1", pool="app"}`},
			{[]string{"query", "series", "--match=latency_seconds", server}, `{__name__="latency_seconds", pool="app"}`},
			{[]string{"query", "labels", server, "backend"}, "b0\nb1\nb2"},
		} {
			if out := run(tt.args...); !strings.Contains(out, tt.want) {
				t.Errorf("promtool %q prints\n%s\nwant %q", tt.args, out, tt.want)
			}
		}
	}
}

// Prometheus' own client reads native histograms and everything else.
func TestPromClient(t *testing.T) {
	c, _ := startFake(t, "analytics_api")
	client, err := api.NewClient(api.Config{Address: "http://" + c.site})
	if err != nil {
		t.Fatal(err)
	}
	v1 := promv1.NewAPI(client)
	v, _, _, err := v1.Query(t.Context(), "latency_seconds", apiEpoch.Add(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if h := v.(model.Vector)[0].Histogram; h == nil || h.Count != 8 || len(h.Buckets) != 3 {
		t.Errorf("histogram: %v", v)
	}
	v, _, _, err = v1.QueryRange(t.Context(), "latency_seconds", promv1.Range{Start: apiEpoch, End: apiEpoch.Add(time.Minute), Step: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if h := v.(model.Matrix)[0].Histograms; len(h) != 7 || h[6].Histogram.Sum != 24.5 {
		t.Errorf("histograms: %v", v)
	}
	b, err := v1.Buildinfo(t.Context())
	if err != nil || !strings.HasPrefix(b.Version, "3.") {
		t.Errorf("build info %+v: %v", b, err)
	}
	m, err := v1.Metadata(t.Context(), "caddy_config_last_reload_successful", "")
	if got := m["caddy_config_last_reload_successful"]; err != nil || len(got) != 1 || got[0].Type != "gauge" || got[0].Help == "" {
		t.Errorf("metadata %+v: %v", m, err)
	}
	if m, err = v1.Metadata(t.Context(), "", "3"); err != nil || len(m) != 3 {
		t.Errorf("metadata of three metrics: %+v: %v", m, err)
	}
	if got, err := v1.Rules(t.Context(), nil); err != nil || got.Groups == nil || len(got.Groups) > 0 {
		t.Errorf("rules %+v: %v", got, err)
	}
	if got, err := v1.QueryExemplars(t.Context(), "up", apiEpoch, time.Now()); err != nil || got == nil || len(got) > 0 {
		t.Errorf("exemplars %+v: %v", got, err)
	}
	var bad *promv1.Error
	if _, err := v1.QueryExemplars(t.Context(), "sum(", apiEpoch, time.Now()); !errors.As(err, &bad) || bad.Type != promv1.ErrBadData {
		t.Errorf("exemplars of no expression: %v", err)
	}
	if _, _, _, err := v1.Query(t.Context(), "sum(", time.Now()); !errors.As(err, &bad) || bad.Type != promv1.ErrBadData {
		t.Errorf("error: %v", err)
	}
}

// TestPromMetadataOfOthers has what targets say beside what this process says.
func TestPromMetadataOfOthers(t *testing.T) {
	c, e := startFake(t, "analytics_api")
	e.meta = []scrape.MetricMetadata{
		{MetricFamily: "shop_orders_total", Type: model.MetricTypeCounter, Help: "Orders <b>placed</b>."},
		{MetricFamily: "shop_orders_total", Type: model.MetricTypeCounter, Help: "Orders <b>placed</b>."}, // of another target
		{MetricFamily: "shop_orders_total", Type: model.MetricTypeGauge, Help: "An old one."},
		{MetricFamily: "shop_seconds", Type: model.MetricTypeHistogram, Help: "Time.", Unit: "seconds"},
	}
	for i := range 3 * mostMetadata {
		e.meta = append(e.meta, scrape.MetricMetadata{MetricFamily: "shop_odd", Type: model.MetricTypeGauge, Help: strconv.Itoa(i)})
	}
	ask := func(query string) (found map[string][]metadata) {
		t.Helper()
		var a promAnswer
		c.ask("GET", c.site+"/api/v1/metadata"+query, "", nil).check(t, query, 200, &a)
		if err := json.Unmarshal(a.Data, &found); err != nil {
			t.Fatal(err)
		}
		return found
	}
	all := ask("")
	orders := []metadata{{"counter", "Orders <b>placed</b>.", ""}, {"gauge", "An old one.", ""}}
	if !slices.Equal(all["shop_orders_total"], orders) || !slices.Equal(all["shop_seconds"], []metadata{{"histogram", "Time.", "seconds"}}) ||
		len(all["shop_odd"]) != mostMetadata || len(all["caddy_config_last_reload_successful"]) != 1 {
		t.Errorf("%+v", all)
	}
	if got := ask("?metric=shop_orders_total&limit_per_metric=1"); len(got) != 1 || !slices.Equal(got["shop_orders_total"], orders[:1]) {
		t.Errorf("one of one metric: %+v", got)
	}
}
