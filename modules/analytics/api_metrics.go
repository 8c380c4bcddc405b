package analytics

import (
	"errors"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// The API's own metrics; the App registers them with the engine's.
var (
	apiRequests = newCounters("api_requests_total", "Requests for the resources of the API.", "resource")
	apiRefused  = newCounters("api_refused_total", "Requests that the API turned away: not_allowed by the guard of a site, "+
		"busy with other queries, too_large for the limits, timeout.", "reason")
	apiRunning = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "caddy", Subsystem: "analytics", Name: "api_queries_running", Help: "Queries of the API that run.",
	}, func() float64 { return float64(queryGate.taken()) })
)

func init() {
	ownCollectors = append(ownCollectors, apiRequests, apiRefused, apiRunning)
}

// Reasons for which a request is turned away.
const (
	refusedNotAllowed = "not_allowed"
	refusedBusy       = "busy"
	refusedTooLarge   = "too_large"
	refusedTimeout    = "timeout"
)

// countRefusal counts an error that a limit or a guard has made.
func countRefusal(err error) {
	var prom *promError
	switch status := statusOf(err); {
	case status == http.StatusTooManyRequests:
		apiRefused.WithLabelValues(refusedBusy).Inc()
	case status == http.StatusUnprocessableEntity:
		apiRefused.WithLabelValues(refusedTooLarge).Inc()
	case errors.As(err, &prom) && prom.kind == promTimeout:
		apiRefused.WithLabelValues(refusedTimeout).Inc()
	case status == http.StatusForbidden || status == http.StatusMisdirectedRequest:
		apiRefused.WithLabelValues(refusedNotAllowed).Inc()
	}
}
