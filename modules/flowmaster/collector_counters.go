package flowmaster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Exporters that no allow list names: those on this machine, and those that may not send.
// What the kernel dropped, it dropped without looking whose it was.
const (
	loopbackExporters = "loopback"
	otherExporters    = "other"
	anyExporter       = "any"
)

// exporterCounters counts what came from the exporters that one entry of a configuration
// names. They belong to the process and go on counting across reloads.
type exporterCounters struct {
	name            string
	datagrams       atomic.Uint64
	records         atomic.Uint64
	dropped         atomic.Uint64
	sequenceGaps    atomic.Uint64
	templateMissing atomic.Uint64
	decodeErrors    atomic.Uint64
	kernelDrops     atomic.Uint64
}

// allExporters holds the counters by name. Names come from configurations alone.
var allExporters sync.Map

func countersOf(name string) *exporterCounters {
	if c, ok := allExporters.Load(name); ok {
		return c.(*exporterCounters)
	}
	c, _ := allExporters.LoadOrStore(name, &exporterCounters{name: name})
	return c.(*exporterCounters)
}

// exporterCountersList returns all, by name.
func exporterCountersList() (list []*exporterCounters) {
	allExporters.Range(func(_, c any) bool {
		list = append(list, c.(*exporterCounters))
		return true
	})
	slices.SortFunc(list, func(a, b *exporterCounters) int { return strings.Compare(a.name, b.name) })
	return list
}

// collectorMetrics are the metrics of collectors, read when they are gathered.
var collectorMetrics = []struct {
	desc *prometheus.Desc
	read func(*exporterCounters) *atomic.Uint64
}{
	{collectorDesc("datagrams", "Datagrams received, by entry of the allow list."), func(c *exporterCounters) *atomic.Uint64 { return &c.datagrams }},
	{collectorDesc("records", "Flow records in them."), func(c *exporterCounters) *atomic.Uint64 { return &c.records }},
	{collectorDesc("dropped", "Datagrams turned away: not allowed, over the rate, or over the number of exporters."), func(c *exporterCounters) *atomic.Uint64 { return &c.dropped }},
	{collectorDesc("sequence_gaps", "What the gaps in sequence numbers add up to: flows of NetFlow v5 and IPFIX, datagrams of NetFlow v9 and sFlow."), func(c *exporterCounters) *atomic.Uint64 { return &c.sequenceGaps }},
	{collectorDesc("template_missing", "Data sets whose template was not known."), func(c *exporterCounters) *atomic.Uint64 { return &c.templateMissing }},
	{collectorDesc("decode_errors", "Datagrams that could not be decoded in full."), func(c *exporterCounters) *atomic.Uint64 { return &c.decodeErrors }},
	{collectorDesc("kernel_drops", "Datagrams that found the receive buffer full; the kernel does not say whose."), func(c *exporterCounters) *atomic.Uint64 { return &c.kernelDrops }},
}

func collectorDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName("caddy", "flowmaster", "collector_"+name+"_total"), help, []string{"exporter"}, nil)
}

// registerCollectorMetrics puts the counters on a configuration's registry.
func registerCollectorMetrics(r *prometheus.Registry) error {
	for _, c := range []prometheus.Collector{exporterCollector{}, exportCollector{}, hostCollector{}} {
		var already prometheus.AlreadyRegisteredError
		if err := r.Register(c); err != nil && !errors.As(err, &already) {
			return fmt.Errorf("registering the metrics of collectors: %w", err)
		}
	}
	return nil
}

// exporterCollector puts the counters of all exporters on a registry.
type exporterCollector struct{}

// Describe implements prometheus.Collector.
func (exporterCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range collectorMetrics {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (exporterCollector) Collect(ch chan<- prometheus.Metric) {
	readKernelDrops()
	for _, c := range exporterCountersList() {
		for _, m := range collectorMetrics {
			ch <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, float64(m.read(c).Load()), c.name)
		}
	}
}
