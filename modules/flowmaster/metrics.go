package flowmaster

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/geo"
)

// The histograms, made once per process. Everything else is read when it is gathered.
var (
	rttSeconds     = newHistogram("tcp_rtt_seconds", "Smoothed round-trip time to the next TCP hop, at the end of a connection and in each sweep.", rttBuckets)
	minRTTSeconds  = newHistogram("tcp_min_rtt_seconds", "Least round-trip time to the next TCP hop, at the end of a connection and in each sweep.", rttBuckets)
	connectSeconds = newHistogram("upstream_connect_seconds", "Time to connect to a backend, with looking up its name and without TLS.", rttBuckets)
)

var rttBuckets = []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

func newHistogram(name, help string, buckets []float64) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "caddy", Subsystem: "flowmaster", Name: name, Help: help,
		Buckets:                         buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	}, endpointLabels)
}

// metric describes one metric and how it is read from F. The values of label, if it has
// one besides those of the endpoint, are all known beforehand.
type metric[F any] struct {
	name, help string
	kind       prometheus.ValueType
	label      string
	read       func(f F, emit emitter)
}

// emitter sends a value, with that of the metric's own label if it has one.
type emitter func(value float64, label ...string)

var endpointMetrics = []metric[*endpoint]{
	{"connections_active", "Open connections.", prometheus.GaugeValue, "", func(e *endpoint, emit emitter) { emit(float64(e.active.Load())) }},
	{"connections_total", "Connections that ended, by who ended them: this process (local), the peer (remote), a reset or timeout (reset).",
		prometheus.CounterValue, "reason", func(e *endpoint, emit emitter) {
			for r := range endReasons {
				emit(float64(e.ended[r].Load()), r.String())
			}
		}},
	{"flow_bytes_total", "Octets of data that connections carried, without headers of packets and retransmissions.",
		prometheus.CounterValue, "direction", func(e *endpoint, emit emitter) {
			emit(float64(e.received.Load()), "received")
			emit(float64(e.sent.Load()), "sent")
		}},
	{"tcp_sent_bytes_total", "Octets of data that were sent, retransmissions included.", prometheus.CounterValue, "",
		func(e *endpoint, emit emitter) { emit(float64(e.bytesSent.Load())) }},
	{"tcp_retransmitted_bytes_total", "Octets of data that were sent again. Losses of what is received do not show here.", prometheus.CounterValue, "",
		func(e *endpoint, emit emitter) { emit(float64(e.bytesRetrans.Load())) }},
	{"tcp_busy_seconds_total", "Time during which there was something to send.", prometheus.CounterValue, "",
		func(e *endpoint, emit emitter) { emit(time.Duration(e.busy.Load()).Seconds()) }},
	{"tcp_limited_seconds_total", "Busy time during which the peer's window (receiver) or the own buffer (send_buffer) held sending up.",
		prometheus.CounterValue, "cause", func(e *endpoint, emit emitter) {
			emit(time.Duration(e.rwnd.Load()).Seconds(), "receiver")
			emit(time.Duration(e.sndbuf.Load()).Seconds(), "send_buffer")
		}},
	{"tcp_delivery_rate_bytes", "Octets per second at which data last arrived at the peer, smoothed over readings.", prometheus.GaugeValue, "",
		func(e *endpoint, emit emitter) { emit(math.Float64frombits(e.rate.Load())) }},
	{"tcp_ecn_ce_total", "Segments that a router marked instead of dropping them (ECN).", prometheus.CounterValue, "",
		func(e *endpoint, emit emitter) { emit(float64(e.ce.Load())) }},
	{"upstream_connect_failures_total", "Connects to a backend that failed, without those that nobody waited for any more.", prometheus.CounterValue, "",
		func(e *endpoint, emit emitter) {
			if e.connect != nil {
				emit(float64(e.connectFailures.Load()))
			}
		}},
}

var processMetrics = []metric[*process]{
	{"connections_untracked_total", "Connections that were measured only at their end, because limit connections was reached.",
		prometheus.CounterValue, "", func(p *process, emit emitter) { emit(float64(p.size.beyond.Load())) }},
	{"connections_unmeasured_total", "Connections that could not be measured, because flowmaster stands behind tls in listener_wrappers.",
		prometheus.CounterValue, "", func(p *process, emit emitter) { emit(float64(p.unmeasured.Load())) }},
	{"names_refused_total", "Connections that were counted as other, because limit names was reached.",
		prometheus.CounterValue, "", func(p *process, emit emitter) { emit(float64(p.endpoints.refused.Load())) }},
	{"sweep_readings_total", "Readings of open connections.", prometheus.CounterValue, "",
		func(p *process, emit emitter) { emit(float64(p.sweeper.read.Load())) }},
	{"sweep_deferred_total", "Connections whose reading was put off, because limit sweep_connections was reached.", prometheus.CounterValue, "",
		func(p *process, emit emitter) { emit(float64(p.sweeper.late.Load())) }},
	{"path_score", "How packets fare on the way to a backend, from 1 (good) to 0, as the balancer is told.", prometheus.GaugeValue, "backend",
		func(p *process, emit emitter) {
			for _, h := range p.paths() {
				emit(h.Score, h.Backend)
			}
		}},
	{"flows_active", "Flows in the table.", prometheus.GaugeValue, "",
		ofRunning(func(a *App) float64 { return float64(a.state.monitor.Status().Flows) })},
	{"flows_evicted_total", "Flows that were pushed out of the full table.", prometheus.CounterValue, "",
		ofRunning(func(a *App) float64 { return float64(a.state.monitor.Status().Evicted) })},
	{"memory_bytes", "About what flowmaster takes: flows, windows and top lists, open connections, servers and backends, templates of exporters, databases of addresses.", prometheus.GaugeValue, "",
		ofRunning(func(a *App) float64 { return float64(a.memory()) })},
}

// ofRunning reads a figure of the running configuration; without one there is none.
func ofRunning(f func(*App) float64) func(*process, emitter) {
	return func(p *process, emit emitter) {
		if a := p.owner.Load(); a != nil {
			emit(f(a))
		}
	}
}

// collector reads the figures of the process. There is one of it; every configuration's
// registry has it.
type collector struct {
	endpoint, process, geo, sockets map[string]*prometheus.Desc
}

var theCollector = newCollector()

func newCollector() *collector {
	c := &collector{make(map[string]*prometheus.Desc), make(map[string]*prometheus.Desc), make(map[string]*prometheus.Desc), make(map[string]*prometheus.Desc)}
	for _, m := range endpointMetrics {
		c.endpoint[m.name] = describe(m.name, m.help, m.label, endpointLabels...)
	}
	for _, m := range processMetrics {
		c.process[m.name] = describe(m.name, m.help, m.label)
	}
	for _, m := range geoMetrics {
		c.geo[m.name] = describe(m.name, m.help, m.label)
	}
	for _, m := range socketMetrics {
		c.sockets[m.name] = describe(m.name, m.help, m.label, "port")
	}
	for _, m := range sweepMetrics {
		c.sockets[m.name] = describe(m.name, m.help, m.label)
	}
	return c
}

func describe(name, help, own string, labels ...string) *prometheus.Desc {
	labels = append([]string(nil), labels...)
	if own != "" {
		labels = append(labels, own)
	}
	return prometheus.NewDesc(prometheus.BuildFQName("caddy", "flowmaster", name), help, labels, nil)
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range []map[string]*prometheus.Desc{c.endpoint, c.process, c.geo, c.sockets} {
		for _, d := range m {
			ch <- d
		}
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	p := theProcess()
	if p == nil {
		return
	}
	for _, m := range processMetrics {
		m.read(p, func(v float64, label ...string) {
			ch <- prometheus.MustNewConstMetric(c.process[m.name], m.kind, v, label...)
		})
	}
	p.eachGeoIP(func(s *geo.Status) {
		for _, m := range geoMetrics {
			m.read(s, func(v float64, label ...string) {
				ch <- prometheus.MustNewConstMetric(c.geo[m.name], m.kind, v, label...)
			})
		}
	})
	c.collectSockets(p, ch)
	p.endpoints.each(func(e *endpoint) {
		labels := e.key.labels()
		for _, m := range endpointMetrics {
			m.read(e, func(v float64, label ...string) {
				ch <- prometheus.MustNewConstMetric(c.endpoint[m.name], m.kind, v, append(labels[:len(labels):len(labels)], label...)...)
			})
		}
	})
}

// theProcess returns what this process has measured, or nil when nothing is configured.
func theProcess() (p *process) {
	states.Range(func(key, value any) bool {
		if _, ok := key.(processKey); ok {
			p = value.(pooled[*process]).v
		}
		return p == nil
	})
	return p
}

// registerMetrics puts the collectors of this process on a configuration's registry.
func registerMetrics(r *prometheus.Registry) error {
	for _, c := range []prometheus.Collector{rttSeconds, minRTTSeconds, connectSeconds, theCollector} {
		var already prometheus.AlreadyRegisteredError
		if err := r.Register(c); err != nil && !errors.As(err, &already) {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}
