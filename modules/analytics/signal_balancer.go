package analytics

var (
	byPool    = []string{"pool"}
	byBackend = []string{"pool", "backend"}
)

// balancerSignals are what clients see of each pool, and what each backend does.
var balancerSignals = slicesOf(
	[]Signal{
		{Name: "pool_requests_per_second", Unit: "requests/second", By: byPool, Help: "Requests of clients.",
			Expr: `sum by (pool) (rate(caddy_lbpro_pool_requests_total[$__rate_interval]))`},
		{Name: "pool_error_ratio", Unit: "ratio", Good: Down, By: byPool, Help: "Share of the answers that were 5xx or broke off.",
			Expr: `(sum by (pool) (rate(caddy_lbpro_pool_responses_total{code="5xx"}[$__rate_interval])) + sum by (pool) (rate(caddy_lbpro_pool_broken_responses_total[$__rate_interval]))) / sum by (pool) (rate(caddy_lbpro_pool_responses_total[$__rate_interval]))`},
	},
	latencies("pool_first_byte", "Time to the first byte of a backend's answer", "caddy_lbpro_backend_first_byte_seconds", byPool),
	latencies("pool_response", "Time to the last byte of a backend's answer", "caddy_lbpro_backend_response_seconds", byPool),
	[]Signal{
		{Name: "pool_health_score", Unit: "score", Good: Up, By: byPool, Help: "Health of the backends, from 0 to 100, on average.",
			Expr: `avg by (pool) (caddy_lbpro_backend_health_score)`},
		{Name: "pool_requests_in_progress", Unit: "requests", By: byPool, Help: "Requests of clients at a backend or in the queue.",
			Expr: `sum by (pool) (caddy_lbpro_pool_requests_in_progress)`},
		{Name: "pool_queue_length", Unit: "requests", Good: Down, By: byPool, Help: "Requests that wait for a backend.",
			Expr: `sum by (pool) (caddy_lbpro_pool_queue_length)`},
		{Name: "pool_retries_per_second", Unit: "requests/second", Good: Down, By: byPool, Help: "Attempts that repeated a failed one.",
			Expr: `sum by (pool) (rate(caddy_lbpro_pool_retries_total[$__rate_interval]))`},
		{Name: "pool_hedges_per_second", Unit: "requests/second", Good: Down, By: byPool, Help: "Attempts beside one on a silent or slow backend.",
			Expr: `sum by (pool) (rate(caddy_lbpro_pool_hedges_total[$__rate_interval]))`},
		{Name: "pool_serving_ratio", Unit: "ratio", Good: Up, By: byPool, Help: "Share of the backends that serve.",
			Expr: `sum by (pool) (caddy_lbpro_pool_backends{state="serving"}) / sum by (pool) (caddy_lbpro_pool_backends)`},
		{Name: "pool_sent_bytes_per_second", Unit: "bytes/second", By: byPool, Help: "Request bodies to backends.",
			Expr: `sum by (pool) (rate(caddy_lbpro_pool_sent_bytes_total[$__rate_interval]))`},
		{Name: "pool_received_bytes_per_second", Unit: "bytes/second", By: byPool, Help: "Response bodies from backends.",
			Expr: `sum by (pool) (rate(caddy_lbpro_pool_received_bytes_total[$__rate_interval]))`},

		{Name: "backend_requests_per_second", Unit: "requests/second", By: byBackend, Help: "Requests sent to the backend, repeats included.",
			Expr: `sum by (pool, backend) (rate(caddy_lbpro_backend_requests_total[$__rate_interval]))`},
		{Name: "backend_share_ratio", Unit: "ratio", By: byBackend, Help: "Share of the pool's requests that the backend got.",
			Expr: `sum by (pool, backend) (rate(caddy_lbpro_backend_requests_total[$__rate_interval])) / on (pool) group_left () sum by (pool) (rate(caddy_lbpro_backend_requests_total[$__rate_interval]))`},
		{Name: "backend_error_ratio", Unit: "ratio", Good: Down, By: byBackend, Help: "Share of the requests that count against the backend.",
			Expr: `sum by (pool, backend) (rate(caddy_lbpro_backend_failures_total[$__rate_interval])) / sum by (pool, backend) (rate(caddy_lbpro_backend_requests_total[$__rate_interval]))`},
	},
	latencies("backend_first_byte", "Time to the first byte of the backend's answer", "caddy_lbpro_backend_first_byte_seconds", byBackend),
	latencies("backend_response", "Time to the last byte of the backend's answer", "caddy_lbpro_backend_response_seconds", byBackend),
	[]Signal{
		{Name: "backend_health_score", Unit: "score", Good: Up, By: byBackend, Help: "Health of the backend, from 0 to 100.",
			Expr: `min by (pool, backend) (caddy_lbpro_backend_health_score)`},
		{Name: "backend_requests_in_flight", Unit: "requests", By: byBackend, Help: "Requests at the backend.",
			Expr: `sum by (pool, backend) (caddy_lbpro_backend_requests_in_flight)`},
		{Name: "backend_in_flight_share_ratio", Unit: "ratio", By: byBackend, Help: "Share of the pool's requests in flight that are at the backend: the distribution of connections.",
			Expr: `sum by (pool, backend) (caddy_lbpro_backend_requests_in_flight) / on (pool) group_left () sum by (pool) (caddy_lbpro_backend_requests_in_flight)`},
		{Name: "backend_requests_waiting", Unit: "requests", Good: Down, By: byBackend, Help: "Requests at the backend without a first byte.",
			Expr: `sum by (pool, backend) (caddy_lbpro_backend_requests_waiting)`},
		{Name: "backend_weight", Unit: "weight", By: byBackend, Help: "Weight in force.",
			Expr: `min by (pool, backend) (caddy_lbpro_backend_weight)`},
	},
)

// httpSignals are what Caddy's HTTP servers do, for each handler.
var httpSignals = slicesOf(
	[]Signal{
		{Name: "requests_per_second", Unit: "requests/second", By: byHandler, Help: "Requests.",
			Expr: `sum by (server, handler) (rate(caddy_http_requests_total[$__rate_interval]))`},
		{Name: "error_ratio", Unit: "ratio", Good: Down, By: byHandler, Help: "Share of the answers that were 5xx; 0 without any.",
			Expr: `(sum by (server, handler) (rate(caddy_http_request_duration_seconds_count{code=~"5.."}[$__rate_interval])) or 0 * sum by (server, handler) (rate(caddy_http_request_duration_seconds_count[$__rate_interval]))) / sum by (server, handler) (rate(caddy_http_request_duration_seconds_count[$__rate_interval]))`},
		{Name: "requests_in_flight", Unit: "requests", By: byHandler, Help: "Requests under way.",
			Expr: `sum by (server, handler) (caddy_http_requests_in_flight)`},
	},
	classicLatencies("duration", "Time of a whole request", "caddy_http_request_duration_seconds", byHandler),
	classicLatencies("first_byte", "Time to the first byte of the answer", "caddy_http_response_duration_seconds", byHandler),
	[]Signal{
		{Name: "response_bytes_per_second", Unit: "bytes/second", By: byHandler, Help: "Bodies of answers.",
			Expr: `sum by (server, handler) (rate(caddy_http_response_size_bytes_sum[$__rate_interval]))`},
	},
)

var byHandler = []string{"server", "handler"}
