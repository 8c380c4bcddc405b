package analytics

// networkSignals are what flowmaster measures of connections, paths and the host.
var networkSignals = slicesOf(
	[]Signal{
		{Name: "connections_active", Unit: "connections", By: []string{"leg"}, Help: "Open connections.",
			Expr: `sum by (leg) (caddy_flowmaster_connections_active)`},
	},
)

// crossSignals set the balancer and the network against one another.
var crossSignals []Signal
