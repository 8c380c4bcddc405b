package lbpro

// backendMetrics are the metrics with the labels pool and backend. docs/metrics.md lists
// them; a test holds the two together.
var backendMetrics = []metric[backendFigures]{
	{"backend_requests_total", "Requests sent to the backend, repeats included.", counterValue, "",
		one(func(b *backendFigures) int64 { return b.totals.requests })},
	{"backend_responses_total", "Answers of the backend by class of status.", counterValue, "code",
		func(b *backendFigures, emit emitter) { emitCodes(&b.totals.codes, emit) }},
	{"backend_failures_total", "Requests that count against the backend, by what happened.", counterValue, "reason",
		func(b *backendFigures, emit emitter) { emitFailures(&b.totals.failures, emit) }},
	{"backend_canceled_total", "Requests at the backend that the client broke off.", counterValue, "",
		one(func(b *backendFigures) int64 { return b.totals.canceled })},
	{"backend_outrun_total", "Requests at the backend that were dropped because another answered the same one first.", counterValue, "",
		one(func(b *backendFigures) int64 { return b.totals.outrun })},
	{"backend_retries_total", "Requests sent to the backend because they failed elsewhere.", counterValue, "",
		one(func(b *backendFigures) int64 { return b.totals.retries })},
	{"backend_hedges_total", "Requests sent to the backend beside one on a silent or slow backend.", counterValue, "",
		one(func(b *backendFigures) int64 { return b.totals.hedges })},
	{"backend_hedges_won_total", "Hedges that the backend answered first.", counterValue, "",
		one(func(b *backendFigures) int64 { return b.totals.hedgesWon })},
	{"backend_ejections_total", "Ejections by reason.", counterValue, "reason",
		func(b *backendFigures, emit emitter) { emitEjections(b.totals.ejected, emit) }},
	{"backend_sent_bytes_total", "Bytes of request bodies sent to the backend.", counterValue, "",
		one(func(b *backendFigures) int64 { return b.totals.sent })},
	{"backend_received_bytes_total", "Bytes of response bodies received from the backend.", counterValue, "",
		one(func(b *backendFigures) int64 { return b.totals.received })},

	{"backend_requests_in_flight", "Requests at the backend.", gaugeValue, "",
		one(func(b *backendFigures) int64 { return b.InFlight })},
	{"backend_requests_waiting", "Requests at the backend without a first byte: its queue as far as it can be seen.", gaugeValue, "",
		one(func(b *backendFigures) int64 { return b.Waiting })},
	{"backend_requests_limit", "Most requests at the backend; 0 for no limit.", gaugeValue, "",
		one(func(b *backendFigures) int64 { return b.Limit })},
	{"backend_requests_per_second", "Requests sent to the backend in the last minute, per second.", gaugeValue, "",
		one(func(b *backendFigures) float64 { return b.rates.PerSecond })},
	{"backend_share_ratio", "Share of the pool's requests of the last minute that went to the backend.", gaugeValue, "",
		one(func(b *backendFigures) float64 { return b.share })},
	{"backend_success_ratio", "Share of the last minute's requests that do not count against the backend; 1 without any.", gaugeValue, "",
		one(func(b *backendFigures) float64 { return b.rates.SuccessRate })},
	{"backend_response_mean_seconds", "Mean time of the backend's whole answers of the last minute.", gaugeValue, "",
		one(func(b *backendFigures) float64 { return b.rates.Average.Seconds() })},
	{"backend_state", "1 for the state the backend is in, 0 for the others.", gaugeValue, "state",
		func(b *backendFigures, emit emitter) {
			for _, s := range states {
				if s == b.State {
					emit(1, s.String())
				} else {
					emit(0, s.String())
				}
			}
		}},
	{"backend_silent", "1 while the backend has requests waiting and has stopped answering.", gaugeValue, "",
		flag(func(b *backendFigures) bool { return b.Silence > 0 })},
	{"backend_health_score", "Health from 0 to 100; the admin API has its parts.", gaugeValue, "",
		one(func(b *backendFigures) int { return b.Health.Score })},
	{"backend_weight", "Weight in force: operator's or configured, slow start and path health multiplied.", gaugeValue, "",
		one(func(b *backendFigures) float64 { return b.Weight.Effective })},
}
