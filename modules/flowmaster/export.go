package flowmaster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/decode"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// Export sends flows as IPFIX to a collector. Addresses go out as they are stored: masked,
// unless the app keeps them whole.
type Export struct {
	// Where to send, such as udp/192.0.2.9:4739 or tcp/collector.example.com. The default
	// port is 4739.
	To string `json:"to"`

	// The observation domain ID of the messages. Default 0.
	Domain uint32 `json:"domain,omitempty"`

	// How often templates are sent again over UDP; over TCP each connection begins with
	// them. Default: 1m.
	TemplateInterval caddy.Duration `json:"template_interval,omitempty"`

	// How long a message may get, in octets, from 640 to 65535. Default: 1400.
	MaxOctets int `json:"max_octets,omitempty"`

	// Whether the two directions of a flow are two records, for collectors that do not
	// know RFC 5103. Default: one record.
	Uniflow bool `json:"uniflow,omitempty"`

	// Whether flows that collectors received are sent too. Default: only those of own
	// connections.
	Observed bool `json:"observed,omitempty"`

	// How many records may wait to be sent; more are dropped and counted. Default: 131072.
	Queue int `json:"queue,omitempty"`

	network, address string
	logger           *zap.Logger
	counters         *exportCounters
	encoder          *decode.Encoder

	mu      sync.Mutex
	waiting []flow.Record
	wake    chan struct{}

	connMu sync.Mutex
	conn   net.Conn

	// Its stop sends what waits, if there is somebody to send it to.
	runner
}

const (
	defaultExportQueue = 1 << 17
	mostExportQueue    = 1 << 22
	mostExports        = 16
	exportDialTimeout  = 5 * time.Second
	exportWriteTimeout = 10 * time.Second
	exportLastWords    = 3 * time.Second // to send what is left at the end
	firstBackoff       = 500 * time.Millisecond
	mostBackoff        = time.Minute
)

// provisionExports checks the exports; they send nothing yet.
func (a *App) provisionExports() error {
	if len(a.Exports) > mostExports {
		return fmt.Errorf("%d exports: at most %d", len(a.Exports), mostExports)
	}
	seen := make(map[string]bool)
	for _, e := range a.Exports {
		if err := e.provision(a.logger.Named("export")); err != nil {
			return err
		}
		if to := e.network + "/" + e.address; seen[to] {
			return fmt.Errorf("export to %s is given twice", to)
		} else {
			seen[to] = true
		}
		a.exporters = append(a.exporters, e)
	}
	return nil
}

func (e *Export) provision(logger *zap.Logger) error {
	na, err := caddy.ParseNetworkAddressWithDefaults(e.To, "udp", 4739)
	if err != nil {
		return fmt.Errorf("export to %q: %w", e.To, err)
	}
	if !strings.HasPrefix(na.Network, "udp") && !strings.HasPrefix(na.Network, "tcp") {
		return fmt.Errorf("export to %q: the network is %s: use udp or tcp", e.To, na.Network)
	}
	if na.Host == "" || na.PortRangeSize() != 1 || na.StartPort == 0 {
		return fmt.Errorf("export to %q: name one host and one port, such as udp/192.0.2.9:4739", e.To)
	}
	switch {
	case e.TemplateInterval < 0 || e.TemplateInterval > 0 && time.Duration(e.TemplateInterval) < time.Second:
		return fmt.Errorf("template_interval is %v: it must be at least 1s", time.Duration(e.TemplateInterval))
	case e.MaxOctets != 0 && (e.MaxOctets < 640 || e.MaxOctets > 65535):
		return fmt.Errorf("max_octets is %d: it must be from 640 to 65535", e.MaxOctets)
	case e.Queue < 0 || e.Queue > mostExportQueue:
		return fmt.Errorf("queue is %d: it must be from 1 to %d records", e.Queue, mostExportQueue)
	}
	or(&e.Queue, defaultExportQueue)
	or(&e.TemplateInterval, caddy.Duration(time.Minute))
	e.network, e.address = na.Network, na.JoinHostPort(0)
	e.logger = logger.With(zap.String("to", e.network+"/"+e.address))
	e.counters = exportCountersOf(e.network + "/" + e.address)
	o := decode.EncoderOptions{
		ObservationDomainID: e.Domain, MaxOctets: e.MaxOctets, Uniflow: e.Uniflow, TemplateInterval: time.Duration(e.TemplateInterval),
	}
	if e.stream() {
		o.TemplateInterval = -1
	}
	e.encoder = decode.NewEncoder(o)
	e.wake = make(chan struct{}, 1)
	return nil
}

func (e *Export) stream() bool { return strings.HasPrefix(e.network, "tcp") }

// Take implements recordSink.
func (e *Export) Take(records []flow.Record) {
	dropped := 0
	e.mu.Lock()
	for i := range records {
		switch {
		case !e.Observed && records[i].Leg == flow.LegObserved:
		case len(e.waiting) >= e.Queue:
			dropped++
		default:
			e.waiting = append(e.waiting, records[i])
		}
	}
	e.mu.Unlock()
	if dropped > 0 {
		e.counters.dropped.Add(uint64(dropped))
	}
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *Export) queued() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.waiting)
}

// start implements part.
func (e *Export) start() error {
	e.begin(e.run)
	return nil
}

func (e *Export) run(ctx context.Context) {
	defer e.disconnect()
	templates := time.NewTicker(time.Duration(e.TemplateInterval))
	defer templates.Stop()
	backoff := firstBackoff
	for ctx.Err() == nil {
		if err := e.connect(ctx); err != nil {
			if ctx.Err() != nil {
				break
			}
			e.counters.errors.Add(1)
			e.logger.Warn("no connection to the collector", zap.Error(err), zap.Duration("again_in", backoff))
			e.pause(ctx, backoff/2+rand.N(backoff/2))
			backoff = min(2*backoff, mostBackoff)
			continue
		}
		backoff = firstBackoff
		if err := e.send(exportWriteTimeout); err != nil {
			e.logger.Warn("sending to the collector", zap.Error(err))
			continue
		}
		select {
		case <-e.wake:
		case <-templates.C:
		case <-ctx.Done():
		}
	}
	e.lastWords()
}

// lastWords sends what waits at the end, or counts it as dropped.
func (e *Export) lastWords() {
	if e.queued() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), exportLastWords)
	defer cancel()
	err := e.connect(ctx)
	if err == nil {
		err = e.send(exportLastWords)
	}
	if left := e.queued(); left > 0 {
		e.counters.dropped.Add(uint64(left))
		e.logger.Warn("flows were not exported before the end", zap.Int("flows", left), zap.Error(err))
	}
}

func (e *Export) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Interface guards
var (
	_ recordSink = (*Export)(nil)
	_ part       = (*Export)(nil)
)
