package flowmaster

import (
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/prometheus/client_golang/prometheus"
)

// Host says what of the host's network is read.
type Host struct {
	// Whether nothing is read.
	Off bool `json:"off,omitempty"`

	// The network interfaces to show. Without any, those that are not virtual pairs
	// (veth…), at most 32.
	Interfaces []string `json:"interfaces,omitempty"`

	// The TCP sockets of other programs. Default: they are not looked at.
	Sockets *HostSockets `json:"sockets,omitempty"`
}

// parseHost takes the part about the host out of the global option flowmaster:
//
//	host off
//	host {
//		interfaces <names...>
//		sockets [{ ... }]
//	}
func (a *App) parseHost(d *caddyfile.Dispenser) error {
	h := new(Host)
	a.Host = h
	if d.NextArg() {
		if d.Val() != "off" || d.NextArg() {
			return d.Errf("host %q: it can only be off, or have a block", d.Val())
		}
		h.Off = true
	}
	for d.NextBlock(1) {
		if d.Val() == "sockets" {
			if err := h.parseSockets(d); err != nil {
				return err
			}
			continue
		}
		if d.Val() != "interfaces" {
			return d.Errf("unrecognized subdirective %q of host", d.Val())
		}
		names := d.RemainingArgs()
		if len(names) == 0 {
			return d.ArgErr()
		}
		h.Interfaces = append(h.Interfaces, names...)
	}
	return nil
}

// HostReport has counters of the kernel since the host (or the network namespace this
// process is in) began. They count everything there, not only what belongs to Caddy.
type HostReport struct {
	At time.Time `json:"at"`
	// Note says why there is nothing, where there is nothing.
	Note       string          `json:"note,omitempty"`
	TCP        HostTCP         `json:"tcp"`
	UDP        HostUDP         `json:"udp"`
	Interfaces []HostInterface `json:"interfaces"`
	// InterfacesLeftOut is how many there are besides.
	InterfacesLeftOut int `json:"interfaces_left_out"`
	// Sockets are those of other programs, where that is configured.
	Sockets *SocketsReport `json:"sockets,omitempty"`
}

// HostTCP counts for all TCP sockets.
type HostTCP struct {
	Established     float64 `json:"established"`
	ListenOverflows float64 `json:"listen_overflows"`
	ListenDrops     float64 `json:"listen_drops"`
	SegmentsSent    float64 `json:"segments_sent"`
	RetransSegments float64 `json:"segments_retransmitted"`
	Timeouts        float64 `json:"timeouts"`
	AttemptFails    float64 `json:"attempt_fails"`
	Resets          float64 `json:"established_resets"`
}

// HostUDP counts for all UDP sockets.
type HostUDP struct {
	Received      float64 `json:"datagrams_received"`
	ReceiveErrors float64 `json:"receive_buffer_errors"`
	SendErrors    float64 `json:"send_buffer_errors"`
	NoPort        float64 `json:"no_port"`
}

// HostInterface counts for one interface.
type HostInterface struct {
	Name            string `json:"name"`
	ReceivedBytes   uint64 `json:"received_bytes"`
	SentBytes       uint64 `json:"sent_bytes"`
	ReceivedPackets uint64 `json:"received_packets"`
	SentPackets     uint64 `json:"sent_packets"`
	ReceiveDrops    uint64 `json:"receive_drops"`
	SendDrops       uint64 `json:"send_drops"`
	ReceiveErrors   uint64 `json:"receive_errors"`
	SendErrors      uint64 `json:"send_errors"`
}

const (
	mostInterfaces = 32
	hostFresh      = time.Second // for how long a reading serves
)

// hostSampler reads the host's counters, at most once a second however often it is asked.
type hostSampler struct {
	mu   sync.Mutex
	last HostReport
	of   *Host
}

var theHost hostSampler

// hostPart makes a configuration's choice the one that metrics follow.
type hostPart struct{ *Host }

func (h hostPart) start() error {
	theHost.report(h.Host, time.Now())
	return nil
}

func (hostPart) stop() error { return nil }

// report returns what h asks for.
func (s *hostSampler) report(h *Host, now time.Time) HostReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := now.Sub(s.last.At); s.of == h && age >= 0 && age < hostFresh {
		return s.last
	}
	s.of = h
	if h != nil && h.Off {
		s.last = HostReport{Note: "host is off in the configuration"}
	} else {
		s.last = readHost(h)
	}
	s.last.At = now
	if s.last.Interfaces == nil {
		s.last.Interfaces = []HostInterface{}
	}
	return s.last
}

// wanted reports whether an interface is to be shown.
func (h *Host) wanted(name string, virtual func(string) bool) bool {
	if h == nil || len(h.Interfaces) == 0 {
		return !virtual(name)
	}
	for _, n := range h.Interfaces {
		if n == name {
			return true
		}
	}
	return false
}

func hostDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName("caddy", "flowmaster", "host_"+name), help, labels, nil)
}

// hostMetrics are read from the report; interfaces have the label interface.
var hostMetrics = []struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*HostReport) float64
}{
	{hostDesc("tcp_established", "TCP connections of the host that are established."), prometheus.GaugeValue, func(r *HostReport) float64 { return r.TCP.Established }},
	{hostDesc("listen_overflows_total", "Connections that found a listener's queue full."), prometheus.CounterValue, func(r *HostReport) float64 { return r.TCP.ListenOverflows }},
	{hostDesc("listen_drops_total", "Connections that a listener dropped, for whatever reason."), prometheus.CounterValue, func(r *HostReport) float64 { return r.TCP.ListenDrops }},
	{hostDesc("tcp_sent_segments_total", "TCP segments sent."), prometheus.CounterValue, func(r *HostReport) float64 { return r.TCP.SegmentsSent }},
	{hostDesc("tcp_retransmitted_segments_total", "TCP segments sent again."), prometheus.CounterValue, func(r *HostReport) float64 { return r.TCP.RetransSegments }},
	{hostDesc("tcp_timeouts_total", "TCP retransmission timeouts."), prometheus.CounterValue, func(r *HostReport) float64 { return r.TCP.Timeouts }},
	{hostDesc("tcp_attempt_fails_total", "TCP connects that failed."), prometheus.CounterValue, func(r *HostReport) float64 { return r.TCP.AttemptFails }},
	{hostDesc("tcp_established_resets_total", "Established TCP connections that were reset."), prometheus.CounterValue, func(r *HostReport) float64 { return r.TCP.Resets }},
	{hostDesc("udp_receive_buffer_errors_total", "UDP datagrams that found a socket's receive buffer full."), prometheus.CounterValue, func(r *HostReport) float64 { return r.UDP.ReceiveErrors }},
	{hostDesc("udp_send_buffer_errors_total", "UDP datagrams that found a socket's send buffer full."), prometheus.CounterValue, func(r *HostReport) float64 { return r.UDP.SendErrors }},
}

var interfaceMetrics = []struct {
	desc *prometheus.Desc
	read func(*HostInterface) uint64
}{
	{hostDesc("interface_received_bytes_total", "Bytes received.", "interface"), func(i *HostInterface) uint64 { return i.ReceivedBytes }},
	{hostDesc("interface_sent_bytes_total", "Bytes sent.", "interface"), func(i *HostInterface) uint64 { return i.SentBytes }},
	{hostDesc("interface_receive_drops_total", "Packets dropped on receipt.", "interface"), func(i *HostInterface) uint64 { return i.ReceiveDrops }},
	{hostDesc("interface_send_drops_total", "Packets dropped before they were sent.", "interface"), func(i *HostInterface) uint64 { return i.SendDrops }},
	{hostDesc("interface_receive_errors_total", "Packets received with errors.", "interface"), func(i *HostInterface) uint64 { return i.ReceiveErrors }},
	{hostDesc("interface_send_errors_total", "Packets that failed to be sent.", "interface"), func(i *HostInterface) uint64 { return i.SendErrors }},
}

// hostCollector puts the counters of the host on a registry. There is one of it for the
// process; what is shown follows the newest configuration.
type hostCollector struct{}

// Describe implements prometheus.Collector.
func (hostCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range hostMetrics {
		ch <- m.desc
	}
	for _, m := range interfaceMetrics {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (hostCollector) Collect(ch chan<- prometheus.Metric) {
	theHost.mu.Lock()
	h := theHost.of
	theHost.mu.Unlock()
	r := theHost.report(h, time.Now())
	if r.Note != "" {
		return
	}
	for _, m := range hostMetrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.read(&r))
	}
	for i := range r.Interfaces {
		for _, m := range interfaceMetrics {
			ch <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, float64(m.read(&r.Interfaces[i])), r.Interfaces[i].Name)
		}
	}
}
