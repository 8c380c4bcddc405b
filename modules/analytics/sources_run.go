package analytics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
)

// scraping collects from a fixed list of targets with Prometheus' own scrape manager, so
// that up, durations, limits and staleness are what they are in Prometheus.
type scraping struct {
	name    string
	scrape  config.ScrapeConfig // without the interval and the timeout
	targets []*targetgroup.Group
	timeout time.Duration // at most; an interval may be shorter
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	logger  *slog.Logger

	manager *atomic.Pointer[scrape.Manager] // where to put the one that runs; nil where nobody asks
}

const (
	// Up to this interval the first collection may wait for its turn. Prometheus spreads
	// its targets over the interval; with a longer one there is a collection at once beside.
	patience = 5 * time.Second
	// lastCollection is how long the last collection may take. What has not answered by
	// then is cut off, as the end of the process does not wait for it.
	lastCollection = 5 * time.Second
	sampleLimit    = 50_000
	bodyLimit      = 10 << 20
	bucketLimit    = 160
)

// A manager rounds the time of a collection to where it is due if it is hardly late. After
// the clock was set back all are early by that, and it would give them one and the same time
// until the clock is where it was: nothing would be stored till then.
func init() { scrape.AlignScrapeTimestamps = false }

// run collects until ctx ends, and then a last time.
func (s *scraping) run(ctx context.Context, to storage.AppendableV2, interval time.Duration, done func(Collection)) error {
	cfg, err := s.configure(interval)
	if err != nil {
		return err
	}
	conns := &connections{open: make(map[net.Conn]struct{})}
	m, err := s.start(cfg, conns, to, done)
	if err != nil {
		return err
	}
	if s.manager != nil {
		s.manager.Store(m.manager)
		defer s.manager.CompareAndSwap(m.manager, nil)
	}
	var first sync.WaitGroup
	if interval > patience {
		// A manager that is told to stop collects once. It runs beside the other, so that
		// a target that does not answer holds up nothing.
		once, err := s.start(cfg, conns, to, done)
		if err != nil {
			m.Stop()
			return err
		}
		first.Go(once.Stop)
	}
	<-ctx.Done()
	cut := time.AfterFunc(lastCollection, conns.close)
	defer cut.Stop()
	m.Stop()
	first.Wait()
	conns.close()
	return nil
}

// configure makes the configuration of a manager.
func (s *scraping) configure(interval time.Duration) (*config.Config, error) {
	// Only a loaded configuration is taken.
	cfg, err := config.Load("", s.logger)
	if err != nil {
		return nil, err
	}
	sc := s.scrape
	sc.JobName = s.name
	sc.ScrapeInterval = model.Duration(interval)
	sc.ScrapeTimeout = model.Duration(min(interval, s.timeout))
	if err := sc.Validate(cfg.GlobalConfig); err != nil {
		return nil, fmt.Errorf("source %s: %w", s.name, err)
	}
	cfg.ScrapeConfigs = []*config.ScrapeConfig{&sc}
	return cfg, nil
}

// scrapeRun is a scrape manager at work.
type scrapeRun struct {
	manager *scrape.Manager
	stop    func()
}

// Stop has everything collected once more, and returns when that is stored.
func (r *scrapeRun) Stop() {
	r.manager.Stop()
	r.stop()
}

// start runs a manager and returns when it knows its targets.
func (s *scraping) start(cfg *config.Config, conns *connections, to storage.AppendableV2, done func(Collection)) (*scrapeRun, error) {
	w := &watched{to: to, name: s.name, done: done, ready: make(chan struct{})}
	m, err := scrape.NewManager(&scrape.Options{
		ScrapeOnShutdown:         true,
		DiscoveryReloadOnStartup: true,
		HTTPClientOptions:        []commoncfg.HTTPClientOption{commoncfg.WithDialContextFunc(conns.dialer(s.dial))},
	}, s.logger, nil, nil, w, prometheus.NewRegistry())
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", s.name, err)
	}
	if err := m.ApplyConfig(cfg); err != nil {
		return nil, fmt.Errorf("source %s: %w", s.name, err)
	}
	sets := make(chan map[string][]*targetgroup.Group)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = m.Run(sets) // it never fails
	}()
	sets <- map[string][]*targetgroup.Group{s.name: s.targets}
	r := &scrapeRun{m, func() { <-ended }}

	// The targets are made beside; without them an error of a collection has no words.
	deadline := time.Now().Add(lastCollection)
	for {
		if t := m.TargetsActive()[s.name]; len(t) > 0 {
			w.know(t)
			return r, nil
		}
		if time.Now().After(deadline) {
			w.know(nil)
			r.Stop()
			return nil, fmt.Errorf("source %s: none of its targets can be used", s.name)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// connections are those that a source has open.
type connections struct {
	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
}

var errSourceEnded = errors.New("the source has ended")

func (c *connections) dialer(dial func(context.Context, string, string) (net.Conn, error)) commoncfg.DialContextFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.closed {
			_ = conn.Close()
			return nil, errSourceEnded
		}
		c.open[conn] = struct{}{}
		return &connection{conn, c}, nil
	}
}

// close ends all connections and lets no other begin.
func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for conn := range c.open {
		_ = conn.Close()
	}
	clear(c.open)
}

type connection struct {
	net.Conn
	of *connections
}

func (c *connection) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c.Conn)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// plain takes the URL out of an error, which may carry secrets in its query.
func plain(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		return u.Err
	}
	return err
}
