package lbpro

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// observers are the histograms of one backend, looked up once.
type observers struct{ first, whole prometheus.Observer }

var (
	firstByteSeconds = newHistogram("first_byte_seconds", "Time from sending a request to a backend to the first byte of its answer.")
	totalSeconds     = newHistogram("response_seconds", "Time from sending a request to a backend to the last byte of its answer.")
)

func newHistogram(name, help string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "caddy", Subsystem: "lbpro", Name: name, Help: help,
		Buckets:                         []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	}, []string{"pool", "backend"})
}

func newObservers(pool, backend string) *observers {
	return &observers{firstByteSeconds.WithLabelValues(pool, backend), totalSeconds.WithLabelValues(pool, backend)}
}

func forgetObservers(pool, backend string) {
	firstByteSeconds.DeleteLabelValues(pool, backend)
	totalSeconds.DeleteLabelValues(pool, backend)
}

func observersOf(b *balance.Backend) *observers { return b.Data.(*observers) }

func (o *observers) firstByte(d time.Duration) { o.first.Observe(d.Seconds()) }
func (o *observers) total(d time.Duration)     { o.whole.Observe(d.Seconds()) }

// registerMetrics puts the collectors of this process on a configuration's registry.
func registerMetrics(r *prometheus.Registry) error {
	for _, c := range []prometheus.Collector{firstByteSeconds, totalSeconds} {
		var already prometheus.AlreadyRegisteredError
		if err := r.Register(c); err != nil && !errors.As(err, &already) {
			return err
		}
	}
	return nil
}
