package lbpro

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

const (
	counterValue = prometheus.CounterValue
	gaugeValue   = prometheus.GaugeValue
)

// poolMetrics are the metrics with the label pool. docs/metrics.md lists them; a test
// holds the two together.
var poolMetrics = []metric[poolFigures]{
	{"pool_requests_total", "Requests of clients that have ended, answered or not.", counterValue, "",
		one(func(p *poolFigures) int64 { return p.requests() })},
	{"pool_responses_total", "Answers to clients by class of status, errors made by the proxy included.", counterValue, "code",
		func(p *poolFigures, emit emitter) { emitCodes(&p.codes, emit) }},
	{"pool_broken_responses_total", "Answers to clients that broke off because the backend did.", counterValue, "",
		one(func(p *poolFigures) int64 { return p.codes[0] })},
	{"pool_canceled_total", "Requests that the client broke off.", counterValue, "",
		one(func(p *poolFigures) int64 { return p.canceled })},
	{"pool_requests_in_progress", "Requests of clients at a backend or in the queue.", gaugeValue, "",
		one(func(p *poolFigures) int64 { return p.Active })},
	{"pool_requests_per_second", "Requests of clients that ended in the last minute, per second.", gaugeValue, "",
		one(func(p *poolFigures) float64 { return p.rates.PerSecond })},
	{"pool_success_ratio", "Share of the answers of the last minute that were neither 5xx nor broken off; 1 without any.", gaugeValue, "",
		one(func(p *poolFigures) float64 { return p.rates.SuccessRate })},
	{"pool_error_ratio", "Share of the answers of the last minute that were 5xx or broken off.", gaugeValue, "",
		one(func(p *poolFigures) float64 { return p.rates.ErrorRate })},
	{"pool_response_mean_seconds", "Mean time of the whole requests of the last minute, as clients saw it: queue, retries and all.", gaugeValue, "",
		one(func(p *poolFigures) float64 { return p.rates.Average.Seconds() })},

	{"pool_attempts_total", "Requests sent to backends, repeats included.", counterValue, "",
		one(func(p *poolFigures) int64 { return p.totals.requests })},
	{"pool_attempt_failures_total", "Attempts that count against their backend, by what happened.", counterValue, "reason",
		func(p *poolFigures, emit emitter) { emitFailures(&p.totals.failures, emit) }},
	{"pool_retries_total", "Attempts that repeated a failed one.", counterValue, "",
		one(func(p *poolFigures) int64 { return p.totals.retries })},
	{"pool_hedges_total", "Attempts that ran beside one on a silent or slow backend.", counterValue, "",
		one(func(p *poolFigures) int64 { return p.totals.hedges })},
	{"pool_hedges_won_total", "Hedges that answered first.", counterValue, "",
		one(func(p *poolFigures) int64 { return p.totals.hedgesWon })},
	{"pool_ejections_total", "Ejections of backends by reason.", counterValue, "reason",
		func(p *poolFigures, emit emitter) { emitEjections(p.totals.ejected, emit) }},
	{"pool_sent_bytes_total", "Bytes of request bodies sent to backends.", counterValue, "",
		one(func(p *poolFigures) int64 { return p.totals.sent })},
	{"pool_received_bytes_total", "Bytes of response bodies received from backends.", counterValue, "",
		one(func(p *poolFigures) int64 { return p.totals.received })},

	{"pool_queue_length", "Requests that wait in the queue for a backend.", gaugeValue, "",
		one(func(p *poolFigures) int64 { return p.Queued })},
	{"pool_queue_full_total", "Requests turned away because the queue was full.", counterValue, "",
		one(func(p *poolFigures) int64 { return p.QueueFull })},
	{"pool_queue_expired_total", "Requests that left the queue because they had waited too long.", counterValue, "",
		one(func(p *poolFigures) int64 { return p.QueueExpired })},
	{"pool_retry_budget_used", "Retries and hedges under way within the retry budget.", gaugeValue, "",
		one(func(p *poolFigures) int64 { return p.BudgetUsed })},
	{"pool_retry_budget_denied_total", "Retries and hedges that the retry budget refused.", counterValue, "",
		one(func(p *poolFigures) int64 { return p.BudgetDenied })},
	{"pool_panic", "1 while too few backends can serve, so that ejected ones are used too.", gaugeValue, "",
		flag(func(p *poolFigures) bool { return p.Panicked })},
	{"pool_outage", "1 while no backend has answered since it last failed.", gaugeValue, "",
		flag(func(p *poolFigures) bool { return p.Outage })},
	{"pool_backends", "Backends by state.", gaugeValue, "state",
		func(p *poolFigures, emit emitter) {
			n := make(map[balance.State]int)
			for i := range p.backends {
				n[p.backends[i].State]++
			}
			for _, s := range states {
				emit(float64(n[s]), s.String())
			}
		}},
}
