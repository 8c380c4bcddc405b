package flowmaster

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// exportCounters counts what was sent to one configured destination. They belong to the
// process and go on counting across reloads.
type exportCounters struct {
	to          string
	records     atomic.Uint64
	messages    atomic.Uint64
	dropped     atomic.Uint64
	errors      atomic.Uint64
	connections atomic.Uint64
}

var allExports sync.Map

func exportCountersOf(to string) *exportCounters {
	c, _ := allExports.LoadOrStore(to, &exportCounters{to: to})
	return c.(*exportCounters)
}

var exportMetrics = []struct {
	desc *prometheus.Desc
	read func(*exportCounters) *atomic.Uint64
}{
	{exportDesc("records", "Records sent as IPFIX."), func(c *exportCounters) *atomic.Uint64 { return &c.records }},
	{exportDesc("messages", "IPFIX messages sent."), func(c *exportCounters) *atomic.Uint64 { return &c.messages }},
	{exportDesc("dropped", "Records not sent: the queue was full, or sending failed."), func(c *exportCounters) *atomic.Uint64 { return &c.dropped }},
	{exportDesc("errors", "Failures to connect or to send."), func(c *exportCounters) *atomic.Uint64 { return &c.errors }},
	{exportDesc("connections", "Connections made to the collector; one for UDP."), func(c *exportCounters) *atomic.Uint64 { return &c.connections }},
}

func exportDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName("caddy", "flowmaster", "export_"+name+"_total"), help, []string{"destination"}, nil)
}

// exportCollector puts the counters of all exports on a registry.
type exportCollector struct{}

// Describe implements prometheus.Collector.
func (exportCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range exportMetrics {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (exportCollector) Collect(ch chan<- prometheus.Metric) {
	var list []*exportCounters
	allExports.Range(func(_, c any) bool {
		list = append(list, c.(*exportCounters))
		return true
	})
	slices.SortFunc(list, func(a, b *exportCounters) int { return strings.Compare(a.to, b.to) })
	for _, c := range list {
		for _, m := range exportMetrics {
			ch <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, float64(m.read(c).Load()), c.to)
		}
	}
}

// ExportStatus is how an export does.
type ExportStatus struct {
	To          string `json:"to"`
	Connected   bool   `json:"connected"`
	Queued      int    `json:"queued"`
	Records     uint64 `json:"records"`
	Messages    uint64 `json:"messages"`
	Dropped     uint64 `json:"dropped"`
	Errors      uint64 `json:"errors"`
	Connections uint64 `json:"connections"`
}

// Status tells how it goes.
func (e *Export) Status() ExportStatus {
	e.connMu.Lock()
	connected := e.conn != nil
	e.connMu.Unlock()
	c := e.counters
	return ExportStatus{
		To: c.to, Connected: connected, Queued: e.queued(), Records: c.records.Load(), Messages: c.messages.Load(),
		Dropped: c.dropped.Load(), Errors: c.errors.Load(), Connections: c.connections.Load(),
	}
}
