package analytics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/alecthomas/units"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
)

func init() {
	caddy.RegisterModule(new(ScrapeSource))
}

// ScrapeSource collects from Prometheus or OpenMetrics endpoints, as Prometheus does.
type ScrapeSource struct {
	HTTPClient

	// What pipelines call it, and the label `job`. Required.
	SourceName string `json:"name"`
	// What to collect from: `host:port`, or a URL where the scheme or the path is not the
	// usual one. At least one, at most 1000.
	Targets []string `json:"targets"`
	// The path of those without one. Default: `/metrics`.
	Path string `json:"path,omitempty"`
	// Labels that all series get. They may have placeholders of the environment.
	Labels map[string]string `json:"labels,omitempty"`
	// How long a collection may take, at most the interval. Default: 10s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
	// How many bytes an answer may have, unpacked; a larger one is a failure.
	// Default: 10 MiB.
	MaxSize int64 `json:"max_size,omitempty"`
	// How many samples an answer may have; more are a failure. Default: 50000.
	MaxSamples int `json:"max_samples,omitempty"`
	// How many labels a series may have, and how long their names and values may be;
	// more is a failure. Default: 64, 256 and 2048.
	MaxLabels      int `json:"max_labels,omitempty"`
	MaxLabelName   int `json:"max_label_name,omitempty"`
	MaxLabelLength int `json:"max_label_value,omitempty"`
	// Whether labels in the answer win over ours, as from a Pushgateway. Default: false.
	HonorLabels bool `json:"honor_labels,omitempty"`
	// Whether the times in the answer count, and not the time of the collection.
	// Default: false.
	HonorTimestamps bool `json:"honor_timestamps,omitempty"`

	scraping *scraping
}

const (
	defaultTimeout = 10 * time.Second
	mostTargetsOf  = 1000
)

// CaddyModule returns the Caddy module information.
func (*ScrapeSource) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "analytics.sources.scrape", New: func() caddy.Module { return new(ScrapeSource) }}
}

// Name implements Source.
func (s *ScrapeSource) Name() string { return s.SourceName }

// scrapeDefaults are the limits of a collection.
func scrapeDefaults() config.ScrapeConfig {
	sc := config.DefaultScrapeConfig
	yes := true
	sc.HonorTimestamps = false
	sc.ScrapeNativeHistograms = &yes
	// A store may know only classic ones.
	sc.AlwaysScrapeClassicHistograms = &yes
	sc.ScrapeFallbackProtocol = config.PrometheusText0_0_4
	sc.BodySizeLimit = bodyLimit
	sc.SampleLimit = sampleLimit
	sc.LabelLimit = 64
	sc.LabelNameLengthLimit = 256
	sc.LabelValueLengthLimit = 2048
	sc.NativeHistogramBucketLimit = bucketLimit
	return sc
}

// Provision implements caddy.Provisioner. It opens nothing.
func (s *ScrapeSource) Provision(ctx caddy.Context) error {
	if s.Timeout == 0 {
		s.Timeout = caddy.Duration(defaultTimeout)
	}
	if s.Path == "" {
		s.Path = "/metrics"
	}
	sc := scrapeDefaults()
	sc.HonorLabels = s.HonorLabels
	sc.HonorTimestamps, sc.TrackTimestampsStaleness = s.HonorTimestamps, s.HonorTimestamps
	if s.MaxSize > 0 {
		sc.BodySizeLimit = units.Base2Bytes(s.MaxSize)
	}
	for to, v := range map[*uint]int{
		&sc.SampleLimit: s.MaxSamples, &sc.LabelLimit: s.MaxLabels,
		&sc.LabelNameLengthLimit: s.MaxLabelName, &sc.LabelValueLengthLimit: s.MaxLabelLength,
	} {
		if v > 0 {
			*to = uint(v)
		}
	}
	var err error
	if sc.HTTPClientConfig, err = s.config(); err != nil {
		return fmt.Errorf("source %s: %w", s.SourceName, err)
	}
	set, err := targetLabels(s.Labels)
	if err != nil {
		return fmt.Errorf("source %s: %w", s.SourceName, err)
	}
	targets, err := s.targets()
	if err != nil {
		return fmt.Errorf("source %s: %w", s.SourceName, err)
	}
	s.scraping = &scraping{
		name:    s.SourceName,
		scrape:  sc,
		targets: []*targetgroup.Group{{Targets: targets, Labels: set}},
		timeout: time.Duration(s.Timeout),
		dial:    (&net.Dialer{Timeout: time.Duration(s.Timeout), KeepAlive: 30 * time.Second}).DialContext,
		logger:  ctx.Slogger(),
		manager: new(atomic.Pointer[scrape.Manager]),
	}
	return nil
}

// Validate implements caddy.Validator.
func (s *ScrapeSource) Validate() error {
	var errs []error
	if s.SourceName == "" {
		errs = append(errs, errors.New("a source of the type scrape needs a name"))
	}
	if n := len(s.Targets); n == 0 || n > mostTargetsOf {
		errs = append(errs, fmt.Errorf("source %s has %d targets: it must have 1 to %d", s.SourceName, n, mostTargetsOf))
	}
	return errors.Join(append(errs,
		noShorter("timeout", s.Timeout, 10*time.Millisecond),
		atLeast("max_size", s.MaxSize, 1),
		atLeast("max_samples", int64(s.MaxSamples), 1),
		atLeast("max_labels", int64(s.MaxLabels), 3),
		atLeast("max_label_name", int64(s.MaxLabelName), 8),
		atLeast("max_label_value", int64(s.MaxLabelLength), 8),
	)...)
}

// targets reads the addresses. Each becomes the label "instance" of its series.
func (s *ScrapeSource) targets() ([]model.LabelSet, error) {
	repl := caddy.NewReplacer()
	taken := make(map[string]bool)
	var targets []model.LabelSet
	for _, text := range s.Targets {
		text, err := repl.ReplaceOrErr(text, true, true)
		if err != nil {
			return nil, fmt.Errorf("target: %w", err)
		}
		t, address, err := parseTarget(text, s.Path)
		if err != nil {
			return nil, err
		}
		if taken[address] {
			return nil, fmt.Errorf("target %s is given twice: series are told apart by it; name one of them in a source of its own", address)
		}
		taken[address] = true
		targets = append(targets, t)
	}
	return targets, nil
}

// parseTarget takes host:port or a URL.
func parseTarget(text, path string) (model.LabelSet, string, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		// The error has the text, and that may have a password.
		return nil, "", errors.New("a target is not an address: give host:port or a URL")
	}
	switch {
	case u.User != nil:
		return nil, "", fmt.Errorf("target %s has a password in it: use basic_auth", u.Host)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, "", fmt.Errorf("target %s has the scheme %s: it must be http or https", u.Host, u.Scheme)
	case u.Hostname() == "":
		return nil, "", errors.New("a target has no host: give host:port or a URL")
	case u.Fragment != "":
		return nil, "", fmt.Errorf("target %s has a fragment, which no server gets", u.Host)
	}
	address := u.Host
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return nil, "", fmt.Errorf("target %s has the port %s: it must be from 1 to 65535", u.Host, port)
		}
	} else {
		port := "80"
		if u.Scheme == "https" {
			port = "443"
		}
		address = net.JoinHostPort(u.Hostname(), port)
	}
	if u.Path != "" {
		path = u.EscapedPath()
	}
	set := model.LabelSet{
		model.AddressLabel:     model.LabelValue(address),
		model.SchemeLabel:      model.LabelValue(u.Scheme),
		model.MetricsPathLabel: model.LabelValue(path),
	}
	for name, values := range u.Query() {
		if len(values) > 1 || !model.LegacyValidation.IsValidLabelName(model.ParamLabelPrefix+name) {
			return nil, "", fmt.Errorf("target %s: the parameter %q cannot be used", address, name)
		}
		set[model.LabelName(model.ParamLabelPrefix+name)] = model.LabelValue(values[0])
	}
	return set, address, nil
}

// Run implements Source.
func (s *ScrapeSource) Run(ctx context.Context, to storage.AppendableV2, interval time.Duration, done func(Collection)) error {
	return s.scraping.run(ctx, to, interval, done)
}

// UnmarshalCaddyfile sets up the source. Syntax:
//
//	source scrape <name> <targets...> {
//	    target          <targets...>
//	    path            <path>
//	    label           <name> <value>
//	    timeout         <duration>
//	    max_size        <size>
//	    max_samples     <n>
//	    max_labels      <n>
//	    max_label_name  <n>
//	    max_label_value <n>
//	    honor_labels
//	    honor_timestamps
//	    basic_auth      <username> <password>
//	    bearer_token    <token>
//	    header          <name> <value>
//	    follow_redirects
//	    tls {
//	        ca          <file>
//	        certificate <file> <key_file>
//	        server_name <name>
//	        insecure_skip_verify
//	    }
//	}
func (s *ScrapeSource) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the type
	if !d.NextArg() {
		return d.ArgErr()
	}
	s.SourceName = d.Val()
	s.Targets = d.RemainingArgs()
	for d.NextBlock(0) {
		if err := s.parseOne(d); err != nil {
			return err
		}
	}
	if len(s.Targets) == 0 {
		return d.Errf("the source %s has no target: give host:port or a URL", s.SourceName)
	}
	return nil
}

func (s *ScrapeSource) parseOne(d *caddyfile.Dispenser) error {
	if ours, err := s.parse(d, 1); ours {
		return err
	}
	switch name := d.Val(); name {
	case "target":
		more := d.RemainingArgs()
		if len(more) == 0 {
			return d.ArgErr()
		}
		s.Targets = append(s.Targets, more...)
	case "path":
		if !d.AllArgs(&s.Path) {
			return d.ArgErr()
		}
	case "label":
		return labelArgs(d, &s.Labels)
	case "timeout":
		return argument.Duration(d, &s.Timeout)
	case "max_size":
		return argument.Size(d, &s.MaxSize)
	case "max_samples":
		return argument.Count(d, &s.MaxSamples)
	case "max_labels":
		return argument.Count(d, &s.MaxLabels)
	case "max_label_name":
		return argument.Count(d, &s.MaxLabelName)
	case "max_label_value":
		return argument.Count(d, &s.MaxLabelLength)
	case "honor_labels":
		s.HonorLabels = true
	case "honor_timestamps":
		s.HonorTimestamps = true
	default:
		return d.Errf("unrecognized subdirective %q; the source scrape takes target, path, label, timeout, max_size, max_samples, max_labels, "+
			"max_label_name, max_label_value, honor_labels, honor_timestamps, %s", name, httpClientOptions)
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

// Interface guards
var (
	_ Source                = (*ScrapeSource)(nil)
	_ caddy.Provisioner     = (*ScrapeSource)(nil)
	_ caddy.Validator       = (*ScrapeSource)(nil)
	_ caddyfile.Unmarshaler = (*ScrapeSource)(nil)
)
