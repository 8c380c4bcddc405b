package lbpro

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// Everything is read from the pools when it is gathered, so that it survives a reload and
// requests pay little for it.

// backendHistograms are what the request path records of each backend.
var backendHistograms = []struct {
	name, help string
	of         func(*observers) *histogram
}{
	{"backend_first_byte_seconds", "Time from the last byte of a request that was sent to a backend to the first byte of its answer.",
		func(o *observers) *histogram { return &o.first }},
	{"backend_response_seconds", "Time from sending a request to a backend to the last byte of its answer.",
		func(o *observers) *histogram { return &o.whole }},
}

// metric describes one metric and how it is read from the figures F. The values of label,
// if it has one besides pool and backend, are all known beforehand.
type metric[F any] struct {
	name, help string
	kind       prometheus.ValueType
	label      string
	read       func(f *F, emit emitter)
}

// emitter sends a value, with that of the metric's own label if it has one.
type emitter func(value float64, label ...string)

// one reads a metric that has a single value.
func one[F any, N int | int64 | float64](get func(*F) N) func(*F, emitter) {
	return func(f *F, emit emitter) { emit(float64(get(f))) }
}

// flag reads a metric that is 0 or 1.
func flag[F any](get func(*F) bool) func(*F, emitter) {
	return func(f *F, emit emitter) {
		if get(f) {
			emit(1)
		} else {
			emit(0)
		}
	}
}

func emitCodes(codes *[6]int64, emit emitter) {
	for class := 1; class < len(codes); class++ {
		emit(float64(codes[class]), strconv.Itoa(class)+"xx")
	}
}

func emitFailures(failures *[8]int64, emit emitter) {
	for o := balance.ServerError; o <= balance.Timeout; o++ {
		emit(float64(failures[o]), o.String())
	}
}

func emitEjections(ejected map[balance.Reason]int64, emit emitter) {
	for _, r := range balance.Reasons {
		emit(float64(ejected[r]), string(r))
	}
}

var states = []balance.State{balance.Serving, balance.Ejected, balance.HalfOpen, balance.Draining}

// collector reads all pools of the process. There is one of it; every configuration's
// registry has it.
type collector struct {
	pool    map[string]*prometheus.Desc
	backend map[string]*prometheus.Desc
}

var theCollector = newCollector()

func newCollector() *collector {
	c := &collector{make(map[string]*prometheus.Desc), make(map[string]*prometheus.Desc)}
	for _, m := range poolMetrics {
		c.pool[m.name] = describe(m.name, m.help, m.label, "pool")
	}
	for _, m := range backendMetrics {
		c.backend[m.name] = describe(m.name, m.help, m.label, "pool", "backend")
	}
	for _, m := range backendHistograms {
		c.backend[m.name] = describe(m.name, m.help, "", "pool", "backend")
	}
	return c
}

func describe(name, help, own string, labels ...string) *prometheus.Desc {
	if own != "" {
		labels = append(labels, own)
	}
	return prometheus.NewDesc(prometheus.BuildFQName("caddy", "lbpro", name), help, labels, nil)
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.pool {
		ch <- d
	}
	for _, d := range c.backend {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	now := clock()
	for _, p := range allPools() {
		f := p.figures(now)
		for _, m := range poolMetrics {
			m.read(&f, func(v float64, label ...string) {
				ch <- prometheus.MustNewConstMetric(c.pool[m.name], m.kind, v, slices.Concat([]string{p.Name}, label)...)
			})
		}
		for i := range f.backends {
			b := &f.backends[i]
			for _, m := range backendHistograms {
				ch <- &histogramMetric{m.of(observersOf(b.Backend)), c.backend[m.name], labelPairs(p.Name, b.ID)}
			}
			for _, m := range backendMetrics {
				m.read(b, func(v float64, label ...string) {
					ch <- prometheus.MustNewConstMetric(c.backend[m.name], m.kind, v, slices.Concat([]string{p.Name, b.ID}, label)...)
				})
			}
		}
	}
}

// registerMetrics puts the collector of this process on a configuration's registry.
func registerMetrics(r *prometheus.Registry) error {
	var already prometheus.AlreadyRegisteredError
	if err := r.Register(theCollector); err != nil && !errors.As(err, &already) {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}
