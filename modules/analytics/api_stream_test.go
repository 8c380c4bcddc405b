package analytics

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// openStream opens a stream and returns its lines; the channel is closed at its end.
func openStream(t *testing.T, url string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	lines := make(chan string, 10_000)
	go func() {
		defer close(lines)
		s := bufio.NewScanner(res.Body)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			lines <- s.Text()
		}
	}()
	return lines
}

// nextEvent returns the data of the next event of a name.
func nextEvent(t *testing.T, lines <-chan string, name string) string {
	t.Helper()
	timeout := time.After(time.Minute)
	found := false
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				t.Fatalf("the stream ends before %s", name)
			}
			if data, is := strings.CutPrefix(line, "data: "); is && found {
				return data
			}
			found = line == "event: "+name
		case <-timeout:
			t.Fatalf("no event %s", name)
		}
	}
}

// streamEnds waits until the stream ends.
func streamEnds(t *testing.T, lines <-chan string) {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		select {
		case _, ok := <-lines:
			if !ok {
				return
			}
		case <-timeout:
			t.Fatal("the stream does not end")
		}
	}
}

// movingEngine has signals that were evaluated at some time.
type movingEngine struct {
	fakeEngine
	at atomic.Int64
}

func (m *movingEngine) CurrentSignals() []SignalReport {
	return []SignalReport{{Pipeline: "balancer", Name: "latency", At: time.Unix(m.at.Load(), 0)}}
}

func quickStreams(t *testing.T) {
	t.Helper()
	before := streamInterval
	streamInterval = 10 * time.Millisecond
	t.Cleanup(func() { streamInterval = before })
}

func TestAPIStream(t *testing.T) {
	quickStreams(t)
	e := &movingEngine{fakeEngine: fakeEngine{report: healthyReport()}}
	withApps(t, map[string]any{"analytics": e, "lbpro": fakeServer{"/lbpro/pools": fakePools}})
	c := startAPICaddy(t, "", "analytics_api")
	site, admin := openStream(t, "http://"+c.site+"/api/analytics/stream"), openStream(t, "http://"+c.admin+"/analytics/stream")
	if first := <-site; first != "retry: 2000" {
		t.Errorf("it begins with %q", first)
	}
	for _, lines := range []<-chan string{site, admin} {
		var s statsAnswer
		if err := json.Unmarshal([]byte(nextEvent(t, lines, "stats")), &s); err != nil || s.Totals.Requests != 120 || s.Analytics != phaseRunning || s.AnalyticsStatus != nil {
			t.Errorf("stats: %v %+v", err, s)
		}
		if data := nextEvent(t, lines, "signals"); !strings.Contains(data, "latency") {
			t.Errorf("signals: %s", data)
		}
	}
	// Signals come again when they are evaluated again, and not before.
	for range 5 {
		nextEvent(t, site, "stats")
	}
	for n := len(site); n > 0; n-- {
		if line := <-site; line == "event: signals" {
			t.Error("signals come without news")
		}
	}
	e.at.Store(5)
	nextEvent(t, site, "signals")
	if r := c.ask("HEAD", c.site+"/api/analytics/stream", "", nil); r.StatusCode != 200 {
		t.Errorf("HEAD: %d", r.StatusCode)
	}

	// A reload ends the streams, and does not wait for them.
	if err := c.load("", "analytics_api\nheader X-New yes"); err != nil {
		t.Fatal(err)
	}
	streamEnds(t, site)
	again := openStream(t, "http://"+c.site+"/api/analytics/stream")
	nextEvent(t, again, "stats")
	withApps(t, nil)
	streamEnds(t, again)
	apiEventually(t, "no stream is counted", func() bool { return openStreams.Load() == 0 })
}

// Only so many streams are served.
func TestAPIStreamCap(t *testing.T) {
	withApps(t, map[string]any{"analytics": &fakeEngine{report: healthyReport()}})
	c := startAPICaddy(t, "", "analytics_api")
	openStreams.Add(mostStreams - 1)
	defer openStreams.Add(1 - mostStreams)
	lines := openStream(t, "http://"+c.site+"/api/analytics/stream")
	nextEvent(t, lines, "stats")
	c.get("/api/analytics/stream", 429, nil).mentions(t, "64 streams")
}
