package analytics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// streamResource is what a page keeps open.
func streamResource() *resource {
	return &resource{
		path: "analytics/stream", serve: serveStream,
		about: "Server-sent events: `stats` every second, as /api/stats without the status, and `signals`, as /api/analytics/metrics, " +
			"each time they were evaluated. A stream ends when the configuration is reloaded, and when its client does not keep up; browsers open it again by themselves.",
	}
}

const (
	// mostStreams bounds the streams of the process.
	mostStreams = 64
	streamRetry = 2 * time.Second
)

// Times that tests shorten.
var (
	streamInterval = time.Second
	// streamPatience is how long a client may take to read an event.
	streamPatience = 10 * time.Second
)

// openStreams counts the streams of the process.
var openStreams atomic.Int64

func serveStream(c *call) error {
	e, err := runningEngine()
	if err != nil {
		return err
	}
	defer openStreams.Add(-1)
	if openStreams.Add(1) > mostStreams {
		return apiErrorf(http.StatusTooManyRequests, "%d streams are open, and no more are served: close a page, or ask for /api/stats", mostStreams)
	}
	if c.r.Method == http.MethodHead {
		c.w.Header().Set("Content-Type", "text/event-stream")
		return nil
	}
	control := http.NewResponseController(c.w)
	c.w.Header().Set("Content-Type", "text/event-stream")
	c.w.Header().Set("X-Accel-Buffering", "no")
	c.w.WriteHeader(http.StatusOK)
	// What goes wrong from here on is the end of the stream: it cannot be told any more.
	_ = c.stream(control, e)
	return nil
}

// stream sends events until the client, the server or the engine goes.
func (c *call) stream(control *http.ResponseController, e apiEngine) error {
	send := func(text []byte) error {
		// Only a recorder in a test has no deadlines.
		if err := control.SetWriteDeadline(time.Now().Add(streamPatience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := c.w.Write(text); err != nil {
			return err
		}
		return control.Flush()
	}
	if err := send(fmt.Appendf(nil, "retry: %d\n\n", streamRetry.Milliseconds())); err != nil {
		return err
	}
	tick := time.NewTicker(streamInterval)
	defer tick.Stop()
	var seen uint64
	for {
		news := lastNews.get(c.r, e)
		text := news.stats
		if news.evaluated != seen {
			seen = news.evaluated
			text = append(append([]byte{}, text...), news.signals...)
		}
		if err := send(text); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-c.r.Context().Done():
			return nil
		case <-c.ending:
			return nil
		}
		// The server of the admin API does not tell that it ends.
		if now, err := runningEngine(); err != nil || now != e {
			return nil
		}
	}
}

// news is what all streams send.
type news struct {
	of             apiEngine
	at             time.Time
	stats, signals []byte
	evaluated      uint64 // counts what is in signals
	latest         time.Time
}

// lastNews is made once for all streams.
var lastNews newsCache

type newsCache struct {
	mu   sync.Mutex
	last news
}

// get returns news that are no older than half an interval.
func (n *newsCache) get(r *http.Request, e apiEngine) news {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if n.last.of == e && now.Sub(n.last.at) < streamInterval/2 {
		return n.last
	}
	a := newStats(r)
	report := e.StatusReport()
	a.Analytics, a.AnalyticsReason = report.State, report.reason()
	made := news{of: e, at: now, stats: event("stats", a), signals: n.last.signals, evaluated: n.last.evaluated}
	signals := e.CurrentSignals()
	for _, s := range signals {
		if s.At.After(made.latest) {
			made.latest = s.At
		}
	}
	if n.last.of != e || !made.latest.Equal(n.last.latest) {
		made.signals = event("signals", metricsAnswer{signals})
		made.evaluated++
	}
	n.last = made
	return made
}

// event writes an event. JSON has no line breaks of its own.
func event(name string, v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		data = []byte(`{"error":"the event cannot be encoded"}`)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", name, data)
	return b.Bytes()
}
