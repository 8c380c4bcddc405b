package analytics

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	commoncfg "github.com/prometheus/common/config"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

func init() {
	caddy.RegisterModule(new(PrometheusStore))
}

// PrometheusStore keeps samples in a Prometheus-compatible server or cluster (Prometheus
// itself, VictoriaMetrics, Mimir, Thanos): they go there by remote write and are asked for
// in PromQL. What cannot be sent waits in a queue on disk.
type PrometheusStore struct {
	HTTPClient

	// The server, such as `http://prometheus:9090`. It may have placeholders of the
	// environment. Required, unless both of the next are given.
	URL string `json:"url,omitempty"`
	// Where samples are written to. Default: `/api/v1/write` of the URL.
	WriteURL string `json:"write_url,omitempty"`
	// What `/api/v1/query` and its sisters are added to. Default: the URL.
	QueryURL string `json:"query_url,omitempty"`
	// The directory of the queue, which is this store's alone. Default: one in
	// `analytics/remote` of Caddy's data directory, named after the write URL.
	Dir string `json:"dir,omitempty"`
	// How many bytes may wait in the queue; the oldest go first. Default: 512 MiB.
	MaxQueue int64 `json:"max_queue,omitempty"`
	// How many series of the last hour are written. What is beyond is turned away and
	// counted. Default: 100000.
	MaxSeries int `json:"max_series,omitempty"`
	// How long the server may take for a write. Default: 30s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	logger *slog.Logger
	client commoncfg.HTTPClientConfig
}

// CaddyModule returns the Caddy module information.
func (*PrometheusStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "analytics.stores.prometheus", New: func() caddy.Module { return new(PrometheusStore) }}
}

// Provision implements caddy.Provisioner. It opens nothing.
func (p *PrometheusStore) Provision(ctx caddy.Context) (err error) {
	p.logger = ctx.Slogger()
	if p.client, err = p.config(); err != nil {
		return fmt.Errorf("store prometheus: %w", err)
	}
	return nil
}

// Validate implements caddy.Validator.
func (p *PrometheusStore) Validate() error {
	_, err := p.options()
	return errors.Join(err,
		atLeast("max_queue", p.MaxQueue, 1<<20),
		atLeast("max_series", int64(p.MaxSeries), 1),
		noShorter("timeout", p.Timeout, 10*time.Millisecond),
	)
}

// options fills in placeholders. Errors do not show what they stood for.
func (p *PrometheusStore) options() (store.RemoteOptions, error) {
	o := store.RemoteOptions{
		HTTP:      p.client,
		MaxQueue:  p.MaxQueue,
		MaxSeries: p.MaxSeries,
		Timeout:   time.Duration(p.Timeout),
	}
	if p.URL == "" && (p.WriteURL == "" || p.QueryURL == "") {
		return o, errors.New("the store prometheus needs a url")
	}
	repl := caddy.NewReplacer()
	for _, part := range []struct {
		name, value string
		to          *string
	}{{"url", p.URL, &o.URL}, {"write_url", p.WriteURL, &o.WriteURL}, {"query_url", p.QueryURL, &o.QueryURL}} {
		if part.value == "" {
			continue
		}
		v, err := repl.ReplaceOrErr(part.value, true, true)
		if err != nil {
			return o, fmt.Errorf("%s: %w", part.name, err)
		}
		u, err := url.Parse(v)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			return o, fmt.Errorf("%s is not a URL: give one such as http://prometheus:9090", part.name)
		case u.User != nil:
			return o, fmt.Errorf("%s has a password in it: use basic_auth", part.name)
		}
		*part.to = v
	}
	where := o.WriteURL
	if where == "" {
		where = o.URL
	}
	sum := sha256.Sum256([]byte(where))
	var err error
	o.Dir, err = storeDir(p.Dir, "remote/"+hex.EncodeToString(sum[:6]))
	return o, err
}

// OpenStore implements StoreProvider.
func (p *PrometheusStore) OpenStore(env StoreEnv) (store.Store, func() error, error) {
	opts, err := p.options()
	if err != nil {
		return nil, nil, err
	}
	opts.Query = env.Query
	return shareStore(p.key(opts), p.logger,
		func(l *slog.Logger) (store.Store, error) {
			opts.Logger = l
			return store.OpenRemote(opts)
		},
		func(s store.Store) error {
			s.(*store.Remote).Apply(opts)
			return nil
		})
}

// key tells stores apart: with another address or another password it is another one.
func (p *PrometheusStore) key(o store.RemoteOptions) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q %d %v ", o.URL, o.WriteURL, o.QueryURL, o.Dir, o.MaxQueue, o.Timeout)
	if c := o.HTTP; c.BasicAuth != nil {
		fmt.Fprintf(h, "%q %q ", c.BasicAuth.Username, string(c.BasicAuth.Password))
	}
	if c := o.HTTP; c.Authorization != nil {
		fmt.Fprintf(h, "%q ", string(c.Authorization.Credentials))
	}
	if c := o.HTTP; c.HTTPHeaders != nil {
		fmt.Fprintf(h, "%q ", p.Headers)
	}
	fmt.Fprintf(h, "%q %v", fmt.Sprintf("%+v", p.TLS), p.FollowRedirects)
	return "prometheus " + o.Dir + " " + hex.EncodeToString(h.Sum(nil))
}

// UnmarshalCaddyfile sets up the store. Syntax:
//
//	store prometheus [<url>] {
//	    url          <url>
//	    write_url    <url>
//	    query_url    <url>
//	    dir          <dir>
//	    max_queue    <size>
//	    max_series   <n>
//	    timeout      <duration>
//	    basic_auth   <username> <password>
//	    bearer_token <token>
//	    header       <name> <value>
//	    follow_redirects
//	    tls {
//	        ca          <file>
//	        certificate <file> <key_file>
//	        server_name <name>
//	        insecure_skip_verify
//	    }
//	}
func (p *PrometheusStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the type
	if d.NextArg() {
		p.URL = d.Val()
		if d.NextArg() {
			return d.ArgErr()
		}
	}
	for d.NextBlock(0) {
		if ours, err := p.parse(d, 1); err != nil {
			return err
		} else if ours {
			continue
		}
		var err error
		text := func(to *string) {
			if !d.AllArgs(to) {
				err = d.ArgErr()
			}
		}
		switch name := d.Val(); name {
		case "url":
			text(&p.URL)
		case "write_url":
			text(&p.WriteURL)
		case "query_url":
			text(&p.QueryURL)
		case "dir":
			text(&p.Dir)
		case "max_queue":
			err = argument.Size(d, &p.MaxQueue)
		case "max_series":
			err = argument.Count(d, &p.MaxSeries)
		case "timeout":
			err = argument.Duration(d, &p.Timeout)
		default:
			err = d.Errf("unrecognized subdirective %q; the store prometheus takes url, write_url, query_url, dir, max_queue, max_series, timeout, %s", name, httpClientOptions)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Interface guards
var (
	_ StoreProvider         = (*PrometheusStore)(nil)
	_ caddy.Provisioner     = (*PrometheusStore)(nil)
	_ caddy.Validator       = (*PrometheusStore)(nil)
	_ caddyfile.Unmarshaler = (*PrometheusStore)(nil)
)
