package analytics

import "fmt"

var (
	byLeg      = []string{"leg"}
	byEndpoint = []string{"leg", "server", "pool", "backend"}
	byPath     = []string{"backend"}
	byNIC      = []string{"interface"}
)

const ofEndpoint = "leg, server, pool, backend"

// networkSignals are what flowmaster measures: of the connections from clients (by server)
// and to backends (by pool and backend), of the way to each backend, and of the host.
var networkSignals = slicesOf(
	[]Signal{
		{Name: "leg_connections_active", Unit: "connections", By: byLeg, Help: "Open connections, of clients and to backends.",
			Expr: `sum by (leg) (caddy_flowmaster_connections_active)`},
		{Name: "leg_connections_per_second", Unit: "connections/second", By: byLeg, Help: "Connections that ended.",
			Expr: `sum by (leg) (rate(caddy_flowmaster_connections_total[$__rate_interval]))`},
		{Name: "leg_resets_per_second", Unit: "connections/second", Good: Down, By: byLeg, Help: "Connections that were reset or timed out.",
			Expr: `sum by (leg) (rate(caddy_flowmaster_connections_total{reason="reset"}[$__rate_interval]))`},
		{Name: "leg_retransmit_ratio", Unit: "ratio", Good: Down, By: byLeg, Help: "Share of the octets sent that were sent again.",
			Expr: retransmitRatio("leg")},
	},
	latencies("leg_rtt", "Round-trip time", "caddy_flowmaster_tcp_rtt_seconds", byLeg),

	latencies("rtt", "Round-trip time to the next TCP hop", "caddy_flowmaster_tcp_rtt_seconds", byEndpoint),
	[]Signal{
		{Name: "retransmit_ratio", Unit: "ratio", Good: Down, By: byEndpoint, Help: "Share of the octets sent that were sent again.",
			Expr: retransmitRatio(ofEndpoint)},
		{Name: "sent_bytes_per_second", Unit: "bytes/second", By: byEndpoint, Help: "Octets of data sent.",
			Expr: `sum by (leg, server, pool, backend) (rate(caddy_flowmaster_flow_bytes_total{direction="sent"}[$__rate_interval]))`},
		{Name: "received_bytes_per_second", Unit: "bytes/second", By: byEndpoint, Help: "Octets of data received.",
			Expr: `sum by (leg, server, pool, backend) (rate(caddy_flowmaster_flow_bytes_total{direction="received"}[$__rate_interval]))`},
		{Name: "delivery_rate_bytes_per_second", Unit: "bytes/second", Good: Up, By: byEndpoint, Help: "Speed at which data last arrived at the peer.",
			Expr: `sum by (leg, server, pool, backend) (caddy_flowmaster_tcp_delivery_rate_bytes)`},
		{Name: "connections_active", Unit: "connections", By: byEndpoint, Help: "Open connections.",
			Expr: `sum by (leg, server, pool, backend) (caddy_flowmaster_connections_active)`},
		{Name: "connections_per_second", Unit: "connections/second", By: byEndpoint, Help: "Connections that ended.",
			Expr: `sum by (leg, server, pool, backend) (rate(caddy_flowmaster_connections_total[$__rate_interval]))`},
		{Name: "limited_ratio", Unit: "ratio", Good: Down, By: byEndpoint, Help: "Share of the time with something to send in which the peer's window or the own buffer held it up.",
			Expr: `sum by (leg, server, pool, backend) (rate(caddy_flowmaster_tcp_limited_seconds_total[$__rate_interval])) / sum by (leg, server, pool, backend) (rate(caddy_flowmaster_tcp_busy_seconds_total[$__rate_interval]))`},
		{Name: "congestion_marks_per_second", Unit: "segments/second", Good: Down, By: byEndpoint, Help: "Segments that a router marked instead of dropping them.",
			Expr: `sum by (leg, server, pool, backend) (rate(caddy_flowmaster_tcp_ecn_ce_total[$__rate_interval]))`},
	},
	latencies("connect", "Time to connect to a backend", "caddy_flowmaster_upstream_connect_seconds", byBackend),
	[]Signal{
		{Name: "connect_failures_per_second", Unit: "connections/second", Good: Down, By: byBackend, Help: "Connects to a backend that failed.",
			Expr: `sum by (pool, backend) (rate(caddy_flowmaster_upstream_connect_failures_total[$__rate_interval]))`},
		{Name: "path_score", Unit: "ratio", Good: Up, By: byPath, Help: "How packets fare on the way to the backend, from 1 (good) to 0.",
			Expr: `min by (backend) (caddy_flowmaster_path_score)`},
	},
	hostSignals,
)

func retransmitRatio(labels string) string {
	return fmt.Sprintf("sum by (%[1]s) (rate(caddy_flowmaster_tcp_retransmitted_bytes_total[%[2]s])) / sum by (%[1]s) (rate(caddy_flowmaster_tcp_sent_bytes_total[%[2]s]))",
		labels, rateIntervalWord)
}

// crossSignals set the balancer and the network against one another. The pairs of their
// own signals are compared by the analyses.
var crossSignals = []Signal{
	{Name: "backend_wait_seconds", Unit: "seconds", Good: Down, By: byBackend, Help: "Mean time to the first byte less the mean round trip: what the backend itself takes.",
		Expr: fmt.Sprintf(`(%s) - on (pool, backend) (%s)`,
			latencies("x", "", "caddy_lbpro_backend_first_byte_seconds", byBackend)[0].Expr,
			latencies("x", "", "caddy_flowmaster_tcp_rtt_seconds", byBackend)[0].Expr)},
	{Name: "backend_network_share_ratio", Unit: "ratio", By: byBackend, Help: "Mean round trip as a share of the mean time to the first byte.",
		Expr: fmt.Sprintf(`(%s) / on (pool, backend) (%s)`,
			latencies("x", "", "caddy_flowmaster_tcp_rtt_seconds", byBackend)[0].Expr,
			latencies("x", "", "caddy_lbpro_backend_first_byte_seconds", byBackend)[0].Expr)},
}
