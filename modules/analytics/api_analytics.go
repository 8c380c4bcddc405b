package analytics

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// analyticsResources are what the engine knows.
func analyticsResources() []*resource {
	return append([]*resource{
		{
			path: "analytics/status", serve: serveStatus, answer: StatusReport{},
			about: "The state of the engine: the steps of its start, pipelines, sources, store, memory, what was dropped, versions.",
		},
		{
			path: "analytics/metrics", serve: serveMetrics, answer: metricsAnswer{}, about: "Every signal with the values that its series have now.",
			params: []param{{"pipeline", "Signals of this pipeline only."}, {"signal", "Signals of this name only."}},
		},
		summaryResource(),
		streamResource(),
		correlationResource(),
		{path: "analytics/pipelines", serve: servePipelines, answer: pipelinesAnswer{}, about: "How each pipeline is doing."},
		{path: "analytics/pipelines/{pipeline}", serve: servePipelines, answer: PipelineStatus{}, about: "How one pipeline is doing."},
	}, slices.Concat(liveResources(), changeResources())...)
}

func serveStatus(c *call) error {
	e, err := runningEngine()
	if err != nil {
		return err
	}
	return c.writeJSON(e.StatusReport())
}

// metricsAnswer has the current signals.
type metricsAnswer struct {
	Signals []SignalReport `json:"signals"`
}

func serveMetrics(c *call) error {
	e, err := runningEngine()
	if err != nil {
		return err
	}
	all := e.CurrentSignals()
	a := metricsAnswer{Signals: []SignalReport{}}
	var pipelines, signals nameList
	for _, s := range all {
		pipelines.add(s.Pipeline)
		if want := c.get("pipeline"); want != "" && want != s.Pipeline {
			continue
		}
		signals.add(s.Name)
		if want := c.get("signal"); want != "" && want != s.Name {
			continue
		}
		a.Signals = append(a.Signals, s)
	}
	if err := pipelines.know("pipeline", c.get("pipeline")); err != nil {
		return err
	}
	if err := signals.know("signal", c.get("signal")); err != nil {
		return err
	}
	return c.writeJSON(a)
}

// pipelinesAnswer has all pipelines.
type pipelinesAnswer struct {
	Pipelines []PipelineStatus `json:"pipelines"`
}

func servePipelines(c *call) error {
	e, err := runningEngine()
	if err != nil {
		return err
	}
	all := e.PipelineReports()
	want, one := c.names["pipeline"]
	if !one {
		return c.writeJSON(pipelinesAnswer{append([]PipelineStatus{}, all...)})
	}
	var known nameList
	for _, p := range all {
		if p.Name == want {
			return c.writeJSON(p)
		}
		known.add(p.Name)
	}
	return known.know("pipeline", want)
}

// nameList is what there is to choose from, each once.
type nameList struct{ list []string }

func (n *nameList) add(name string) {
	if !slices.Contains(n.list, name) {
		n.list = append(n.list, name)
	}
}

// mostNames bounds what an error lists.
const mostNames = 50

// know returns an error that lists what there is, unless name is among it or empty.
func (n *nameList) know(what, name string) error {
	if name == "" || slices.Contains(n.list, name) {
		return nil
	}
	quoted := make([]string, 0, mostNames)
	for _, s := range n.list[:min(len(n.list), mostNames)] {
		quoted = append(quoted, strconv.Quote(s))
	}
	switch rest := len(n.list) - len(quoted); {
	case len(n.list) == 0:
		return apiErrorf(http.StatusNotFound, "no %s %.100q: there is none", what, name)
	case rest > 0:
		return apiErrorf(http.StatusNotFound, "no %s %.100q: there are %s and %d more", what, name, strings.Join(quoted, ", "), rest)
	}
	return apiErrorf(http.StatusNotFound, "no %s %.100q: there are %s", what, name, strings.Join(quoted, ", "))
}
