package analytics

import (
	"maps"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	dto "github.com/prometheus/client_model/go"
)

// metadata is what is known of a metric.
type metadata struct {
	Type string `json:"type"`
	Help string `json:"help"`
	Unit string `json:"unit"`
}

// gatherMetrics gathers the metrics of this process. A variable, so that tests can stand
// in for it.
var gatherMetrics = func() ([]*dto.MetricFamily, error) {
	ctx := caddy.ActiveContext()
	registry := ctx.GetMetricsRegistry()
	if registry == nil {
		return nil, nil
	}
	return registry.Gather()
}

func serveMetadata(c *call) error {
	limit, err := c.number("limit", -1, -1, 1<<31-1)
	if err != nil {
		return err
	}
	each, err := c.number("limit_per_metric", -1, -1, 1<<31-1)
	if err != nil {
		return err
	}
	families, err := gatherMetrics()
	if err != nil && len(families) == 0 {
		return &promError{http.StatusInternalServerError, promInternal, err}
	}
	known := make(map[string][]metadata)
	add := func(name string, m metadata) {
		if want := c.get("metric"); want != "" && name != want {
			return
		}
		list, old := known[name]
		if (old || len(known) < mostResults) && len(list) < mostMetadata && !slices.Contains(list, m) {
			known[name] = append(list, m)
		}
	}
	for _, f := range families {
		add(f.GetName(), metadata{strings.ToLower(f.GetType().String()), f.GetHelp(), f.GetUnit()})
	}
	if e, err := runningEngine(); err == nil {
		for _, m := range e.ScrapedMetadata() {
			add(m.MetricFamily, metadata{string(m.Type), m.Help, m.Unit})
		}
	}
	found := make(map[string][]metadata)
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if limit >= 0 && len(found) >= limit {
			break
		}
		list := known[name]
		if each >= 0 {
			list = list[:min(each, len(list))]
		}
		if len(list) > 0 {
			found[name] = list
		}
	}
	return c.writeProm(found, nil, "")
}

// mostMetadata bounds the different things that targets say of one metric.
const mostMetadata = 20

// promBuildInfo is what clients choose by what they can ask for.
type promBuildInfo struct {
	Version   string `json:"version"`
	Revision  string `json:"revision"`
	Branch    string `json:"branch"`
	BuildUser string `json:"buildUser"`
	BuildDate string `json:"buildDate"`
	GoVersion string `json:"goVersion"`
}

func serveBuildInfo(c *call) error {
	return c.writeProm(promBuildInfo{Version: prometheusVersion(), GoVersion: runtime.Version()}, nil, "")
}

// prometheusVersion is the version of Prometheus whose engine is built in. As a Go module
// 3.16.0 is called v0.316.0.
func prometheusVersion() string {
	const oldest = "3.0.0" // that any build here can have
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return oldest
	}
	for _, dep := range info.Deps {
		if dep.Path != "github.com/prometheus/prometheus" {
			continue
		}
		rest, ok := strings.CutPrefix(dep.Version, "v0.3")
		if minor, patch, dotted := strings.Cut(rest, "."); ok && dotted && len(minor) == 2 {
			return "3." + strings.TrimPrefix(minor, "0") + "." + patch
		}
	}
	return oldest
}
