package testbed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// Limits and defaults of a backend.
const (
	defaultQueue = 1 << 16
	maxWorkers   = 1 << 16
)

// BackendConfig describes a synthetic backend. The zero value is a server of one
// worker that answers at once.
type BackendConfig struct {
	// Name is sent in the header Testbed-Backend; the address when empty.
	Name string
	// Addr is the host:port to listen on. When empty a free port of 127.0.0.1 is
	// chosen below the range of ephemeral ones, so that no outgoing connection takes
	// it while a fault has the listener closed.
	Addr string
	// Workers is the number of requests served at a time; 1 when zero.
	Workers int
	// Queue is the most requests that wait for a worker; one more is answered 503 at
	// once. 65,536 when zero.
	Queue int
	// Speed divides the service time for the whole run; 1 when zero, 0.1 for a
	// backend ten times slower than its fellows.
	Speed float64
	// Service draws the demand of requests that do not carry DemandHeader; none when
	// nil.
	Service Distribution
	// Seed of those draws.
	Seed uint64
	// Body is the size of an answer's body in bytes, at most 1 MiB.
	Body int
	// Faults is the schedule, from the epoch on.
	Faults []Fault
}

func (c BackendConfig) withDefaults() (BackendConfig, error) {
	if c.Workers == 0 {
		c.Workers = 1
	}
	if c.Queue == 0 {
		c.Queue = defaultQueue
	}
	if c.Speed == 0 {
		c.Speed = 1
	}
	switch {
	case c.Workers < 0 || c.Workers > maxWorkers:
		return c, fmt.Errorf("backend %q: Workers is %d, must be 1 to %d", c.Name, c.Workers, maxWorkers)
	case c.Queue < 0:
		return c, fmt.Errorf("backend %q: Queue is %d, must not be negative", c.Name, c.Queue)
	case !(c.Speed > 0):
		return c, fmt.Errorf("backend %q: Speed is %g, must be positive", c.Name, c.Speed)
	case c.Body < 0 || c.Body > maxBody:
		return c, fmt.Errorf("backend %q: Body is %d, must be 0 to %d", c.Name, c.Body, maxBody)
	}
	return c, nil
}

// Backend is a running synthetic backend. Its methods may be called from any
// goroutine.
type Backend struct {
	cfg     BackendConfig
	addr    string
	station *station
	counts  recorder
	demands demandSource
	body    []byte

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	done   sync.WaitGroup // the follower and the handlers
	change chan struct{}  // the schedule was replaced

	mu     sync.Mutex
	epoch  time.Time
	faults []Fault
	plan   *schedule
	front  *front // nil while the port is closed
}

// StartBackend starts a backend; its epoch is now. Close it when done.
func StartBackend(cfg BackendConfig) (*Backend, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	plan, err := newSchedule(cfg.Speed, cfg.Faults)
	if err != nil {
		return nil, fmt.Errorf("backend %q: %w", cfg.Name, err)
	}
	ln, err := listen(cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("backend %q: %w", cfg.Name, err)
	}
	b := &Backend{
		cfg: cfg, addr: ln.Addr().String(), epoch: time.Now(), plan: plan,
		faults: slices.Clone(cfg.Faults), change: make(chan struct{}, 1),
		body: make([]byte, cfg.Body),
	}
	if b.cfg.Name == "" {
		b.cfg.Name = b.addr
	}
	for i := range b.body {
		b.body[i] = 'a' + byte(i%26)
	}
	b.demands.init(cfg.Service, cfg.Seed)
	b.station = newStation(cfg.Workers, cfg.Queue, plan, b.epoch)
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.front = b.open(ln)
	b.done.Add(1)
	go b.follow()
	return b, nil
}

// Name returns the configured name, or the address.
func (b *Backend) Name() string { return b.cfg.Name }

// Addr returns the host:port of the backend; it does not change.
func (b *Backend) Addr() string { return b.addr }

// URL returns the root URL.
func (b *Backend) URL() string { return "http://" + b.addr }

// Config returns the configuration with defaults filled in.
func (b *Backend) Config() BackendConfig { return b.cfg }

// Begin sets the epoch from which faults and statistics count and puts the
// configured faults back in place of injected ones. The statistics start anew. The
// backend should be idle: requests inside are carried over.
func (b *Backend) Begin(epoch time.Time) {
	b.counts.reset()
	// The configured faults compiled once already.
	_ = b.replan(func([]Fault) []Fault { return slices.Clone(b.cfg.Faults) }, epoch)
}

// Inject adds a fault whose At counts from now.
func (b *Backend) Inject(f Fault) error {
	return b.replan(func(faults []Fault) []Fault {
		f.At += max(0, time.Since(b.epoch))
		return append(slices.Clone(faults), f)
	}, time.Time{})
}

// Heal ends every fault, current and to come. Requests swallowed by a Hang stay so.
func (b *Backend) Heal() {
	_ = b.replan(func([]Fault) []Fault { return nil }, time.Time{})
}

func (b *Backend) replan(edit func([]Fault) []Fault, epoch time.Time) error {
	b.mu.Lock()
	faults := edit(b.faults)
	plan, err := newSchedule(b.cfg.Speed, faults)
	if err != nil {
		b.mu.Unlock()
		return fmt.Errorf("backend %q: %w", b.cfg.Name, err)
	}
	if epoch.IsZero() {
		epoch = b.epoch
	}
	b.epoch, b.faults, b.plan = epoch, faults, plan
	b.mu.Unlock()
	b.station.replan(plan, epoch)
	select {
	case b.change <- struct{}{}:
	default:
	}
	return nil
}

// Stats returns what the backend has seen since its epoch.
func (b *Backend) Stats() Stats {
	s := b.counts.snapshot()
	s.Busy, s.Waiting = b.station.load()
	return s
}

// now returns the time since the epoch and the behaviour that holds.
func (b *Backend) now() (time.Duration, segment) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := time.Since(b.epoch)
	return t, b.plan.at(t)
}

// Close ends every connection and waits for all goroutines of the backend.
func (b *Backend) Close() error {
	b.cancel()
	b.station.kill(cut)
	b.mu.Lock()
	f := b.front
	b.front = nil
	b.mu.Unlock()
	var err error
	if f != nil {
		err = f.close()
	}
	b.done.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("backend %q: close: %w", b.cfg.Name, err)
	}
	return nil
}
