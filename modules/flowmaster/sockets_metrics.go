package flowmaster

import "github.com/prometheus/client_golang/prometheus"

// namedSockets is what metrics tell of the sockets of one name.
type namedSockets struct {
	group  *SocketGroup
	counts socketCounts
}

// socketMetrics have the label port: a name from the configuration, or other.
var socketMetrics = []metric[*namedSockets]{
	{"host_sockets", "TCP sockets of other programs, by state.", prometheus.GaugeValue, "state", func(n *namedSockets, emit emitter) {
		for state, count := range n.group.States {
			emit(float64(count), state)
		}
	}},
	{"host_sockets_rtt_seconds", "Mean of the smoothed round-trip times of other programs' TCP sockets.", prometheus.GaugeValue, "",
		func(n *namedSockets, emit emitter) {
			if n.group.rtts > 0 {
				emit(n.group.RTTSeconds)
			}
		}},
	{"host_sockets_min_rtt_seconds", "Least round-trip time of other programs' TCP sockets.", prometheus.GaugeValue, "",
		func(n *namedSockets, emit emitter) {
			if n.group.MinRTTSeconds > 0 {
				emit(n.group.MinRTTSeconds)
			}
		}},
	{"host_sockets_accept_queue", "Connections that wait for another program to accept them.", prometheus.GaugeValue, "",
		func(n *namedSockets, emit emitter) { emit(float64(n.group.AcceptQueue)) }},
	{"host_sockets_sent_bytes_total", "Octets of data that other programs' TCP sockets sent, without what they sent between the last look and their end.",
		prometheus.CounterValue, "", func(n *namedSockets, emit emitter) { emit(float64(n.counts.sent)) }},
	{"host_sockets_received_bytes_total", "Octets of data that other programs' TCP sockets received, without what came between the last look and their end.",
		prometheus.CounterValue, "", func(n *namedSockets, emit emitter) { emit(float64(n.counts.received)) }},
	{"host_sockets_retransmitted_bytes_total", "Octets of data that other programs' TCP sockets sent again.",
		prometheus.CounterValue, "", func(n *namedSockets, emit emitter) { emit(float64(n.counts.again)) }},
}

// sweepMetrics are about looking at the sockets.
var sweepMetrics = []metric[*SocketsReport]{
	{"host_sockets_truncated_total", "Looks at other programs' sockets that ended at the limit.", prometheus.CounterValue, "",
		func(r *SocketsReport, emit emitter) { emit(float64(r.truncatedSince)) }},
	{"host_sockets_sweep_seconds", "How long the last look at other programs' sockets took.", prometheus.GaugeValue, "",
		func(r *SocketsReport, emit emitter) { emit(r.TookSeconds) }},
}

// collectSockets emits them, if the running configuration wants sockets to be looked at.
func (c *collector) collectSockets(p *process, ch chan<- prometheus.Metric) {
	a := p.owner.Load()
	if a == nil || a.Host == nil || a.Host.Sockets == nil {
		return
	}
	r := p.sockets.latest.Load()
	if r == nil || r.Note != "" {
		return
	}
	for _, m := range sweepMetrics {
		m.read(r, func(v float64, label ...string) {
			ch <- prometheus.MustNewConstMetric(c.sockets[m.name], m.kind, v, label...)
		})
	}
	for _, g := range r.Named {
		n := namedSockets{g, r.totals[g.Name]}
		for _, m := range socketMetrics {
			m.read(&n, func(v float64, label ...string) {
				ch <- prometheus.MustNewConstMetric(c.sockets[m.name], m.kind, v, append([]string{g.Name}, label...)...)
			})
		}
	}
}
