package analytics

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// Pipeline is a source of metrics and the signals that are made of them.
type Pipeline struct {
	// Letters, digits, underscores and hyphens. The names `balancer`, `network`, `http`
	// and `cross` are those of the automatic pipelines.
	Name string `json:"name"`
	// Leaves out an automatic pipeline. Default: false.
	Off bool `json:"off,omitempty"`
	// Name of the source whose metrics the signals are about. Default: `registry`.
	Source string `json:"source,omitempty"`
	// How often the source is collected from and the signals are evaluated. From 1s to 2m. A source that several
	// pipelines share is collected from at the shortest of their intervals.
	// Default: collect_interval.
	Interval caddy.Duration `json:"interval,omitempty"`
	// The signals. One with the name of a signal of the automatic pipeline replaces that.
	Signals []Signal `json:"signals,omitempty"`

	automatic bool
	// joins names the pipelines whose signals are set against one another here.
	joins []string
}

var (
	pipelineName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_-]{0,62}$`)
	signalName   = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]{0,62}$`)
)

const (
	rateIntervalWord = "$__rate_interval"
	intervalWord     = "$__interval"
	// rateIntervals is how many collections a rate looks back at the least: with four one
	// may be missing, and one late.
	rateIntervals = 4
)

// checkPipelines refuses what could not run, while the configuration is read.
func (a *App) checkPipelines(sources []Source) error {
	seen := make(map[string]bool)
	for _, p := range a.Pipelines {
		if !pipelineName.MatchString(p.Name) {
			return fmt.Errorf("pipeline %q: a name has up to 63 letters, digits, underscores and hyphens, and begins with a letter", p.Name)
		}
		if seen[p.Name] {
			return fmt.Errorf("pipeline %s is given already", p.Name)
		}
		seen[p.Name] = true
		if err := p.check(sources); err != nil {
			return fmt.Errorf("pipeline %s: %w", p.Name, err)
		}
	}
	for _, p := range a.automaticPipelines(func(string) bool { return true }) {
		if err := p.check(sources); err != nil {
			return fmt.Errorf("pipeline %s: %w", p.Name, err)
		}
	}
	return nil
}

func (p *Pipeline) check(sources []Source) error {
	if p.Off && !slices.Contains(automaticNames, p.Name) {
		return fmt.Errorf("off leaves out an automatic pipeline (%s); this one can just be removed", strings.Join(automaticNames, ", "))
	}
	if p.Source != "" && !slices.ContainsFunc(sources, func(s Source) bool { return s.Name() == p.Source }) {
		return fmt.Errorf("there is no source %q; the sources are %s", p.Source, strings.Join(sourceNames(sources), ", "))
	}
	if i := time.Duration(p.Interval); i != 0 && (i < leastInterval || i > mostCollect) {
		return fmt.Errorf("interval is %v: it must be between %v and %v", i, leastInterval, mostCollect)
	}
	if len(p.Signals) > mostSignals {
		return fmt.Errorf("it has %d signals: at most %d fit in one; make another pipeline", len(p.Signals), mostSignals)
	}
	if len(p.Signals) == 0 && !p.Off && !slices.Contains(automaticNames, p.Name) {
		return fmt.Errorf("it has no signal: add one, such as `signal up \"up\"`")
	}
	seen := make(map[string]bool)
	for i := range p.Signals {
		s := &p.Signals[i]
		if seen[s.Name] {
			return fmt.Errorf("signal %s is given already", s.Name)
		}
		seen[s.Name] = true
		if err := s.check(); err != nil {
			return err
		}
	}
	return nil
}

func sourceNames(sources []Source) []string {
	names := make([]string, len(sources))
	for i, s := range sources {
		names[i] = s.Name()
	}
	return names
}

var promParser = parser.NewParser(parser.Options{})

// check refuses a signal that cannot be evaluated.
func (s *Signal) check() error {
	if !signalName.MatchString(s.Name) {
		return fmt.Errorf("signal %q: a name has up to 63 letters, digits and underscores, and does not begin with a digit", s.Name)
	}
	switch s.Good {
	case Up, Down, Neither:
	default:
		return fmt.Errorf("signal %s: good is %q: it must be up or down, or be left out", s.Name, s.Good)
	}
	if strings.TrimSpace(s.Expr) == "" {
		return fmt.Errorf("signal %s: it has no PromQL: add it, as in `signal %s \"up\"` or with expr", s.Name, s.Name)
	}
	expr, err := promParser.ParseExpr(expand(s.Expr, time.Second))
	if err != nil {
		return fmt.Errorf("signal %s: its PromQL cannot be read: %w", s.Name, err)
	}
	switch expr.Type() {
	case parser.ValueTypeVector, parser.ValueTypeScalar:
		return nil
	}
	return fmt.Errorf("signal %s: its PromQL gives a %s; it has to give an instant vector, as rate(…) or avg_over_time(…) do", s.Name, expr.Type())
}

// expand puts in what depends on the interval.
func expand(expr string, interval time.Duration) string {
	prom := func(d time.Duration) string { return model.Duration(d).String() }
	return strings.NewReplacer(
		rateIntervalWord, prom(rateIntervals*interval),
		intervalWord, prom(interval),
	).Replace(expr)
}

// resolve returns the pipelines as they run: those of the configuration first, then the
// automatic ones that apply, changed as the configuration says.
func (a *App) resolve(present func(name string) bool) []*Pipeline {
	changed := make(map[string]*Pipeline)
	var all []*Pipeline
	for _, p := range a.Pipelines {
		if slices.Contains(automaticNames, p.Name) {
			changed[p.Name] = p
		} else {
			all = append(all, p.clone())
		}
	}
	for _, p := range a.automaticPipelines(present) {
		if c := changed[p.Name]; c != nil {
			p.merge(c)
		}
		if !p.Off {
			all = append(all, p)
		}
	}
	for _, p := range all {
		if p.Source == "" {
			p.Source = registryName
		}
		if p.Interval == 0 {
			p.Interval = a.CollectInterval
		}
		for i := range p.Signals {
			p.Signals[i].Pipeline = p.Name
		}
	}
	return all
}

func (p *Pipeline) clone() *Pipeline {
	c := *p
	c.Signals = slices.Clone(p.Signals)
	return &c
}

// merge changes an automatic pipeline by what the configuration says of it.
func (p *Pipeline) merge(c *Pipeline) {
	p.Off = c.Off
	if c.Source != "" {
		p.Source = c.Source
	}
	if c.Interval != 0 {
		p.Interval = c.Interval
	}
	for _, s := range c.Signals {
		if i := slices.IndexFunc(p.Signals, func(o Signal) bool { return o.Name == s.Name }); i >= 0 {
			p.Signals[i] = s
		} else {
			p.Signals = append(p.Signals, s)
		}
	}
}
