package analytics

import "fmt"

// hostSignals are the counters of the kernel that flowmaster reads. They are about all of
// the host (or the network namespace of this process), not of Caddy alone.
var hostSignals = []Signal{
	{Name: "host_tcp_established", Unit: "connections", Help: "Established TCP connections of the host.",
		Expr: `sum(caddy_flowmaster_host_tcp_established)`},
	{Name: "host_tcp_retransmit_ratio", Unit: "ratio", Good: Down, Help: "Share of the host's TCP segments that were sent again.",
		Expr: hostRate("tcp_retransmitted_segments_total") + " / " + hostRate("tcp_sent_segments_total")},
	{Name: "host_tcp_timeouts_per_second", Unit: "timeouts/second", Good: Down, Help: "Times that an acknowledgement did not come at all.",
		Expr: hostRate("tcp_timeouts_total")},
	{Name: "host_tcp_attempt_fails_per_second", Unit: "connections/second", Good: Down, Help: "TCP connects that failed, from and to the host.",
		Expr: hostRate("tcp_attempt_fails_total")},
	{Name: "host_tcp_resets_per_second", Unit: "connections/second", Good: Down, Help: "Established TCP connections that were reset.",
		Expr: hostRate("tcp_established_resets_total")},
	{Name: "host_listen_overflows_per_second", Unit: "connections/second", Good: Down, Help: "Connections that found a listener's queue full.",
		Expr: hostRate("listen_overflows_total")},
	{Name: "host_listen_drops_per_second", Unit: "connections/second", Good: Down, Help: "Connections that a listener dropped, for whatever reason.",
		Expr: hostRate("listen_drops_total")},
	{Name: "host_udp_receive_buffer_errors_per_second", Unit: "datagrams/second", Good: Down, Help: "Datagrams that found a socket's receive buffer full.",
		Expr: hostRate("udp_receive_buffer_errors_total")},
	{Name: "host_udp_send_buffer_errors_per_second", Unit: "datagrams/second", Good: Down, Help: "Datagrams that found a socket's send buffer full.",
		Expr: hostRate("udp_send_buffer_errors_total")},
	{Name: "host_interface_received_bytes_per_second", Unit: "bytes/second", By: byNIC, Help: "Octets that came in.",
		Expr: nicRate("interface_received_bytes_total")},
	{Name: "host_interface_sent_bytes_per_second", Unit: "bytes/second", By: byNIC, Help: "Octets that went out.",
		Expr: nicRate("interface_sent_bytes_total")},
	{Name: "host_interface_drops_per_second", Unit: "packets/second", Good: Down, By: byNIC, Help: "Packets dropped on receipt or before they were sent.",
		Expr: nicRate("interface_receive_drops_total") + " + " + nicRate("interface_send_drops_total")},
	{Name: "host_interface_errors_per_second", Unit: "packets/second", Good: Down, By: byNIC, Help: "Packets that were damaged or could not be sent.",
		Expr: nicRate("interface_receive_errors_total") + " + " + nicRate("interface_send_errors_total")},
}

func hostRate(metric string) string {
	return fmt.Sprintf("sum(rate(caddy_flowmaster_host_%s[%s]))", metric, rateIntervalWord)
}

func nicRate(metric string) string {
	return fmt.Sprintf("sum by (interface) (rate(caddy_flowmaster_host_%s[%s]))", metric, rateIntervalWord)
}
