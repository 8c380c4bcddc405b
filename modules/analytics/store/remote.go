package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/api"
	apiv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
)

// RemoteOptions describe a remote Prometheus-compatible store. Zero values take the defaults.
type RemoteOptions struct {
	URL      string // of the server: http://host:9090
	WriteURL string // default URL + /api/v1/write
	QueryURL string // what /api/v1/query is added to; default URL
	HTTP     commoncfg.HTTPClientConfig

	Dir       string        // of the queue
	MaxQueue  int64         // bytes that may wait; default 512 MiB; the oldest go first
	MaxSeries int           // default 100,000; further ones are turned away
	Timeout   time.Duration // of sending once; default 30s
	Query     QueryOptions
	Logger    *slog.Logger
}

func (o RemoteOptions) withDefaults() RemoteOptions {
	o.URL = strings.TrimRight(o.URL, "/")
	if o.WriteURL == "" {
		o.WriteURL = o.URL + "/api/v1/write"
	}
	if o.QueryURL == "" {
		o.QueryURL = o.URL
	}
	if o.MaxQueue <= 0 {
		o.MaxQueue = 512 << 20
	}
	if o.MaxSeries <= 0 {
		o.MaxSeries = 100_000
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Query = o.Query.withDefaults()
	return o
}

// Remote is a Prometheus-compatible store elsewhere: samples go there by remote write, and
// PromQL is answered there. What it does not take waits in a queue on disk, also over a
// restart.
type Remote struct {
	opts   RemoteOptions
	notes  []string
	locker *tsdbutil.DirLocker
	http   *http.Client
	api    apiv1.API
	limits atomic.Pointer[QueryOptions]

	queue    *queue
	ctx      context.Context // ends with Close
	stop     context.CancelFunc
	sending  context.Context // ends a little later
	stopSend context.CancelFunc
	loops    sync.WaitGroup
	closed   atomic.Bool

	series   seriesSet
	appended atomic.Uint64
	dropped  atomic.Uint64
	newest   atomic.Int64

	plainUntil time.Time // until then no native histograms are sent; send's alone

	mu        sync.Mutex
	failed    error // of the last attempt to send
	failedAt  time.Time
	refused   error // of the last samples that the server does not want
	refusedAt time.Time
	unsaved   error // of the last write to the queue
}

const (
	// drainTime is how long Close tries to send what waits; the rest waits for the next start.
	drainTime   = 5 * time.Second
	flushRemote = 10 * time.Second
	// tellRefusal is how long a status tells of samples that the server did not want.
	tellRefusal = 10 * time.Minute
	// mostAnswer bounds what a query may bring.
	mostAnswer = 256 << 20
)

// OpenRemote opens the queue in opts.Dir and begins to send. It does not wait for the server.
func OpenRemote(opts RemoteOptions) (*Remote, error) {
	opts = opts.withDefaults()
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("directory of the queue: %w", err)
	}
	opts.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, noDirectory(err)
	}
	s := &Remote{opts: opts, series: seriesSet{limit: opts.MaxSeries}}
	if s.http, err = commoncfg.NewClientFromConfig(opts.HTTP, "analytics_store"); err != nil {
		return nil, fmt.Errorf("client of the remote store: %w", err)
	}
	client, err := api.NewClient(api.Config{Address: opts.QueryURL, Client: &http.Client{
		Transport:     boundedAnswers{s.http.Transport},
		CheckRedirect: s.http.CheckRedirect,
	}})
	if err != nil {
		return nil, fmt.Errorf("client of the remote store: %w", err)
	}
	s.api = apiv1.NewAPI(client)
	s.limits.Store(&opts.Query)
	if s.locker, err = tsdbutil.NewDirLocker(dir, "queue", opts.Logger, nil); err != nil {
		return nil, err
	}
	if err := s.locker.Lock(); err != nil {
		return nil, notLocked(dir, err)
	}
	q, reader, notes, err := openQueue(dir, opts.MaxQueue, opts.Logger)
	if err != nil {
		return nil, errors.Join(err, s.locker.Release())
	}
	s.queue, s.notes = q, notes
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.sending, s.stopSend = context.WithCancel(context.Background())
	s.loops.Go(func() { s.send(reader) })
	s.loops.Go(s.flushEvery)
	return s, nil
}

// Apply changes the limits of queries while the store is in use.
func (s *Remote) Apply(opts RemoteOptions) {
	q := opts.Query.withDefaults()
	s.limits.Store(&q)
	s.series.setLimit(opts.withDefaults().MaxSeries)
}

// Status implements Store.
func (s *Remote) Status() Status {
	st := Status{
		Kind:     "prometheus",
		Notes:    s.notes,
		Series:   s.series.count(),
		Samples:  s.appended.Load(),
		Location: plainURL(s.opts.WriteURL),
	}
	var lost uint64
	st.Pending, st.Bytes, lost = s.queue.waiting()
	st.Dropped = s.dropped.Load() + lost
	if t := s.newest.Load(); t != 0 {
		st.Newest = time.UnixMilli(t)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.OK = !s.closed.Load() && s.failed == nil && s.unsaved == nil
	switch {
	case s.closed.Load():
		st.Problem = ErrClosed.Error()
	case s.unsaved != nil:
		st.Problem = fmt.Sprintf("samples cannot be written to the queue: %v; %s", s.unsaved, wayOut(s.unsaved))
	case s.failed != nil:
		st.Problem = fmt.Sprintf("since %s nothing can be sent: %v; %d samples wait in %s and are sent when the server takes them",
			s.failedAt.Format(time.RFC3339), s.failed, st.Pending, s.opts.Dir)
	case lost > 0:
		st.Problem = fmt.Sprintf("the queue was full and %d samples are lost; raise max_queue", lost)
	case s.refused != nil && time.Since(s.refusedAt) < tellRefusal:
		st.Problem = fmt.Sprintf("the server refused samples: %v", s.refused)
	}
	return st
}

// Flush implements Store: what waits is forced to disk.
func (s *Remote) Flush(ctx context.Context) error {
	if s.closed.Load() {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.queue.sync()
}

func (s *Remote) flushEvery() {
	ticker := time.NewTicker(flushRemote)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
			if err := s.queue.sync(); err != nil {
				s.opts.Logger.Error("forcing the queue to disk", "err", err)
			}
		}
	}
}

// Close implements Store. It tries for a moment to send what waits.
func (s *Remote) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.stop()
	enough := time.AfterFunc(drainTime, s.stopSend)
	s.loops.Wait()
	enough.Stop()
	s.stopSend()
	s.http.CloseIdleConnections()
	return errors.Join(s.queue.close(), s.locker.Release())
}

// plainURL is a URL without secrets.
func plainURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
