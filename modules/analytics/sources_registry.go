package analytics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/alecthomas/units"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/storage"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
)

func init() {
	caddy.RegisterModule(new(RegistrySource))
}

// RegistrySource collects the metrics of this process, without a socket: those of the
// balancer, of the network, and of every other module.
type RegistrySource struct {
	// What pipelines call it, and the label `job`. Default: `registry`.
	SourceName string `json:"name,omitempty"`
	// The label `instance`, which tells this process from others that write to the same
	// remote store. It may have placeholders of the environment. Default: the host's name.
	Instance string `json:"instance,omitempty"`
	// Labels that all series get. They may have placeholders of the environment.
	Labels map[string]string `json:"labels,omitempty"`
	// How long collecting may take, at most the interval. Default: 10s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
	// How many samples a collection may bring. With more it fails. A backend has some 170,
	// most of them buckets. Default: 250000.
	MaxSamples int `json:"max_samples,omitempty"`
	// How many bytes a collection may have. With more it fails. Default: 64 MiB.
	MaxSize int64 `json:"max_size,omitempty"`

	logger   *slog.Logger
	gatherer prometheus.Gatherer
	scraping *scraping
}

const (
	registrySamples = 250_000
	registryBytes   = 64 << 20
)

// CaddyModule returns the Caddy module information.
func (*RegistrySource) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "analytics.sources.registry", New: func() caddy.Module { return new(RegistrySource) }}
}

// Name implements Source.
func (r *RegistrySource) Name() string { return r.SourceName }

// Provision implements caddy.Provisioner.
func (r *RegistrySource) Provision(ctx caddy.Context) error {
	r.logger = ctx.Slogger()
	r.gatherer = ctx.GetMetricsRegistry()
	if r.SourceName == "" {
		r.SourceName = registryName
	}
	if r.Timeout == 0 {
		r.Timeout = caddy.Duration(defaultTimeout)
	}
	repl := caddy.NewReplacer()
	instance, err := repl.ReplaceOrErr(r.Instance, true, true)
	if err != nil {
		return fmt.Errorf("instance: %w", err)
	}
	if instance == "" {
		if instance, err = os.Hostname(); err != nil {
			instance = "localhost"
		}
	}
	set, err := targetLabels(r.Labels)
	if err != nil {
		return err
	}
	set[model.InstanceLabel] = model.LabelValue(instance)
	r.scraping = &scraping{
		name:    r.SourceName,
		scrape:  scrapeDefaults(),
		targets: []*targetgroup.Group{{Targets: []model.LabelSet{{model.AddressLabel: "registry"}}, Labels: set}},
		timeout: time.Duration(r.Timeout),
		logger:  r.logger,
	}
	// It never leaves the process.
	r.scraping.scrape.EnableCompression = false
	// Hundreds of backends are no mishap of somebody else's; the store has a limit as well.
	r.scraping.scrape.SampleLimit, r.scraping.scrape.BodySizeLimit = registrySamples, registryBytes
	if r.MaxSamples > 0 {
		r.scraping.scrape.SampleLimit = uint(r.MaxSamples)
	}
	if r.MaxSize > 0 {
		r.scraping.scrape.BodySizeLimit = units.Base2Bytes(r.MaxSize)
	}
	return nil
}

// Validate implements caddy.Validator.
func (r *RegistrySource) Validate() error {
	return errors.Join(
		noShorter("timeout", r.Timeout, 10*time.Millisecond),
		atLeast("max_samples", int64(r.MaxSamples), 1),
		atLeast("max_size", r.MaxSize, 1),
	)
}

// Run implements Source.
func (r *RegistrySource) Run(ctx context.Context, to storage.AppendableV2, interval time.Duration, done func(Collection)) error {
	pipes := newPipes()
	server := &http.Server{
		Handler:  onlyOne(r.handler()),
		ErrorLog: slog.NewLogLogger(r.logger.Handler(), slog.LevelDebug),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(pipes) // ends with Close
	}()
	defer func() {
		_ = server.Close()
		<-served
	}()
	s := *r.scraping
	s.dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return pipes.dial(ctx) }
	return s.run(ctx, to, interval, done)
}

// handler serves what can be gathered: a collector that is broken takes no other with it.
func (r *RegistrySource) handler() http.Handler {
	var mu sync.Mutex
	var last string
	gather := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := r.gatherer.Gather()
		text := ""
		if err != nil {
			text = err.Error()
		}
		mu.Lock()
		defer mu.Unlock()
		if text != last && text != "" {
			r.logger.Warn("some of this process's metrics are broken; the others are collected", "err", err)
		}
		last = text
		if len(families) > 0 {
			err = nil
		}
		return families, err
	})
	return promhttp.HandlerFor(gather, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError, DisableCompression: true})
}

// onlyOne lets one request in at a time, so that a collector that hangs holds one goroutine
// and not one more for each interval.
func onlyOne(next http.Handler) http.Handler {
	busy := make(chan struct{}, 1)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		select {
		case busy <- struct{}{}:
			defer func() { <-busy }()
			next.ServeHTTP(w, req)
		case <-req.Context().Done():
		}
	})
}

// pipes is a listener without a socket.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// Addr implements net.Listener.
func (*pipes) Addr() net.Addr { return &net.UnixAddr{Name: "registry", Net: "pipe"} }

// UnmarshalCaddyfile sets up the source. Syntax:
//
//	source registry [<name>] {
//	    instance    <value>
//	    label       <name> <value>
//	    timeout     <duration>
//	    max_samples <n>
//	    max_size    <size>
//	}
func (r *RegistrySource) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the type
	if d.NextArg() {
		r.SourceName = d.Val()
		if d.NextArg() {
			return d.ArgErr()
		}
	}
	for d.NextBlock(0) {
		var err error
		switch name := d.Val(); name {
		case "instance":
			if !d.AllArgs(&r.Instance) {
				err = d.ArgErr()
			}
		case "label":
			err = labelArgs(d, &r.Labels)
		case "timeout":
			err = argument.Duration(d, &r.Timeout)
		case "max_samples":
			err = argument.Count(d, &r.MaxSamples)
		case "max_size":
			err = argument.Size(d, &r.MaxSize)
		default:
			err = d.Errf("unrecognized subdirective %q; the source registry takes instance, label, timeout, max_samples and max_size", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// labelArgs takes a name and a value.
func labelArgs(d *caddyfile.Dispenser, to *map[string]string) error {
	var name, value string
	if !d.AllArgs(&name, &value) {
		return d.ArgErr()
	}
	if *to == nil {
		*to = make(map[string]string)
	}
	if _, twice := (*to)[name]; twice {
		return d.Errf("label %s is given already", name)
	}
	(*to)[name] = value
	return nil
}

// targetLabels checks labels of the configuration and fills in their placeholders.
func targetLabels(in map[string]string) (model.LabelSet, error) {
	out := make(model.LabelSet, len(in))
	repl := caddy.NewReplacer()
	var errs []error
	for name, value := range in {
		v, err := repl.ReplaceOrErr(value, true, true)
		n := model.LabelName(name)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("label %s: %w", name, err))
		case !model.LegacyValidation.IsValidLabelName(name) || len(name) > 2 && name[:2] == "__" || n == model.JobLabel:
			errs = append(errs, fmt.Errorf("label %q: this name cannot be set", name))
		case !model.LabelValue(v).IsValid():
			errs = append(errs, fmt.Errorf("label %s: its value is not UTF-8", name))
		}
		out[n] = model.LabelValue(v)
	}
	return out, errors.Join(errs...)
}

// Interface guards
var (
	_ Source                = (*RegistrySource)(nil)
	_ caddy.Provisioner     = (*RegistrySource)(nil)
	_ caddy.Validator       = (*RegistrySource)(nil)
	_ caddyfile.Unmarshaler = (*RegistrySource)(nil)
	_ net.Listener          = (*pipes)(nil)
)
