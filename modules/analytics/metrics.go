package analytics

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// The engine's own metrics. They are made once in a process and count on over reloads.
var (
	collections        = newCounters("collections_total", "Collections from a source's targets.", "source")
	collectionErrors   = newCounters("collection_errors_total", "Collections that failed.", "source")
	collectionSeconds  = newCounters("collection_seconds_total", "Time that collecting took.", "source")
	collectedSamples   = newCounters("samples_total", "Samples collected.", "source")
	evaluations        = newCounters("evaluations_total", "Evaluations of a pipeline's signals.", "pipeline")
	evaluationErrors   = newCounters("evaluation_errors_total", "Evaluations in which a signal failed.", "pipeline")
	evaluationSeconds  = newCounters("evaluation_seconds_total", "Time that evaluating a pipeline's signals took.", "pipeline")
	analysesRun        = newCounter("analyses_total", "Runs of the analyses.")
	analysesSkipped    = newCounter("analyses_skipped_total", "Runs of the analyses left out because the one before took longer than the interval.")
	analysisErrors     = newCounter("analysis_errors_total", "Runs of the analyses that failed.")
	analysisSeconds    = newCounter("analysis_seconds_total", "Time that the analyses took.")
	panics             = newCounter("panics_total", "Panics that were caught.")
	ownCollectors      = []prometheus.Collector{collections, collectionErrors, collectionSeconds, collectedSamples, evaluations, evaluationErrors, evaluationSeconds, analysesRun, analysesSkipped, analysisErrors, analysisSeconds, panics, engineCollector{}}
	stateDesc          = gaugeDesc("state", "1 for the state the engine is in, 0 for the others.", "state")
	seriesDesc         = gaugeDesc("series", "Series in the windows that are analysed.")
	leftOutDesc        = gaugeDesc("series_left_out", "Series that are not analysed because there are max_series already.")
	windowBytesDesc    = gaugeDesc("window_bytes", "Memory of the windows.")
	storeUpDesc        = gaugeDesc("store_up", "1 while samples can be written to the store.")
	storeSeriesDesc    = gaugeDesc("store_series", "Series in the store.")
	storeBytesDesc     = gaugeDesc("store_bytes", "Size of the store, on disk or in memory.")
	storeSamplesDesc   = gaugeDesc("store_samples_total", "Samples appended to the store.")
	storeDroppedDesc   = gaugeDesc("store_dropped_total", "Samples that the store turned away.")
	engineDescriptions = []*prometheus.Desc{stateDesc, seriesDesc, leftOutDesc, windowBytesDesc, storeUpDesc, storeSeriesDesc, storeBytesDesc, storeSamplesDesc, storeDroppedDesc}
)

func newCounters(name, help, label string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "caddy", Subsystem: "analytics", Name: name, Help: help}, []string{label})
}

func newCounter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "caddy", Subsystem: "analytics", Name: name, Help: help})
}

func gaugeDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName("caddy", "analytics", name), help, labels, nil)
}

// runningEngines are the engines that run; two while one configuration follows another.
type runningEngines struct {
	mu   sync.Mutex
	list []*engine
}

var engines runningEngines

func (r *runningEngines) add(e *engine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, e)
}

func (r *runningEngines) remove(e *engine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = slices.DeleteFunc(r.list, func(o *engine) bool { return o == e })
}

// newest returns the engine that was started last, or nil.
func (r *runningEngines) newest() *engine {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) == 0 {
		return nil
	}
	return r.list[len(r.list)-1]
}

// engineCollector reads the engine that runs, when it is gathered.
type engineCollector struct{}

// Describe implements prometheus.Collector.
func (engineCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range engineDescriptions {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (engineCollector) Collect(ch chan<- prometheus.Metric) {
	e := engines.newest()
	if e == nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	state, _ := e.state()
	for _, s := range []string{phaseStopped, phaseStarting, phaseRunning, phaseDegraded, phaseStopping} {
		v := 0.0
		if s == state {
			v = 1
		}
		gauge(stateDesc, v, s)
	}
	w := e.windows()
	gauge(seriesDesc, float64(w.Series))
	gauge(leftOutDesc, float64(w.LeftOut))
	gauge(windowBytesDesc, float64(w.Bytes))
	st := e.storeStatus()
	if st == nil {
		gauge(storeUpDesc, 0)
		return
	}
	up := 0.0
	if st.OK {
		up = 1
	}
	gauge(storeUpDesc, up)
	gauge(storeSeriesDesc, float64(st.Series))
	gauge(storeBytesDesc, float64(st.Bytes))
	counter(storeSamplesDesc, st.Samples)
	counter(storeDroppedDesc, st.Dropped)
}

// registerMetrics puts the collectors of this process on a configuration's registry.
func registerMetrics(r *prometheus.Registry) error {
	for _, c := range ownCollectors {
		var already prometheus.AlreadyRegisteredError
		if err := r.Register(c); err != nil && !errors.As(err, &already) {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}
