package analytics

import (
	"github.com/prometheus/prometheus/scrape"
)

// knowing is a source that knows type and help of the metrics it collects.
type knowing interface {
	metricMetadata() []scrape.MetricMetadata
}

// metadata returns what the targets told of their metrics when they were last
// collected from. A metric of several targets comes several times.
func (s *scraping) metadata() []scrape.MetricMetadata {
	m := s.manager.Load()
	if m == nil {
		return nil
	}
	var all []scrape.MetricMetadata
	for _, t := range m.TargetsActive()[s.name] {
		all = append(all, t.ListMetadata()...)
	}
	return all
}

func (s *ScrapeSource) metricMetadata() []scrape.MetricMetadata { return s.scraping.metadata() }

// ScrapedMetadata returns type and help of the metrics that are collected from elsewhere.
// This process's own are not among them.
func (a *App) ScrapedMetadata() []scrape.MetricMetadata {
	var all []scrape.MetricMetadata
	for _, s := range a.engine.sources {
		if k, ok := s.source.(knowing); ok {
			all = append(all, k.metricMetadata()...)
		}
	}
	return all
}

// Interface guards
var _ knowing = (*ScrapeSource)(nil)
