package analytics

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/correlate"
)

const (
	// mostBetween is how many places of the digest pairs of the network and the balancer have
	// before all others. That a backend is busy while it is asked much is surer than any of
	// them, and known.
	mostBetween = 3
	// almostEqual is the correlation from which two series are taken for one.
	almostEqual = 0.95
)

// pairPicker chooses the pairs that tell somebody something.
type pairPicker struct {
	*findings
	known  map[string]SeriesInfo
	looked map[[2]string]bool // pairs seen, whichever comes first
	told   map[[2]string]bool // what the pairs taken are about
}

func newPairPicker(r *findings, known map[string]SeriesInfo) *pairPicker {
	return &pairPicker{findings: r, known: known, looked: make(map[[2]string]bool), told: make(map[[2]string]bool)}
}

// reports takes from the engine's reports: first pairs of the network and the balancer, then
// whatever is sure. The network's may be in both.
func (k *pairPicker) reports(network, all []PairReport) {
	for _, p := range surest(network) {
		if len(k.Correlations) == mostBetween {
			break
		}
		k.take(p)
	}
	for _, p := range surest(slices.Concat(network, all)) {
		k.take(p)
	}
}

// surest returns the significant pairs, the surest first.
func surest(reports []PairReport) []correlate.Pair {
	var pairs []correlate.Pair
	for _, p := range reports {
		if p.Verdict == correlate.Significant {
			pairs = append(pairs, p.Pair)
		}
	}
	slices.SortStableFunc(pairs, func(x, y correlate.Pair) int {
		return cmp.Or(cmp.Compare(x.P, y.P), cmp.Compare(math.Abs(y.R), math.Abs(x.R)))
	})
	return pairs
}

// take takes in a significant pair unless it is there, has no place, or tells nothing new.
func (k *pairPicker) take(p correlate.Pair) {
	pair := either(p.X, p.Y)
	if k.looked[pair] {
		return
	}
	k.looked[pair] = true
	about := either(k.about(p.X), k.about(p.Y))
	switch {
	case k.sameThing(p):
		k.SameThing++
	case k.told[about]:
		k.Alike++
	case len(k.Correlations) < mostFindings:
		k.told[about] = true
		k.Correlations = append(k.Correlations, p)
	}
}

// either names two whichever comes first.
func either(x, y string) [2]string { return [2]string{min(x, y), max(x, y)} }

// about is what a series is of: the pipeline, the backend or server, and the unit, so that a
// mean and a median of one backend are about the same. A series without a unit is about itself.
func (k *pairPicker) about(name string) string {
	unit := k.known[name].Unit
	if unit == "" {
		return name
	}
	_, labels, _ := strings.Cut(name, "{")
	return pipelineOf(name) + "{" + labels + " " + unit
}

func pipelineOf(name string) string {
	pipeline, _, _ := strings.Cut(name, ":")
	return pipeline
}

// sameThing reports whether the two are one thing measured twice: all but equal, such as
// requests counted here and there; the same quantity of the same backend or server, such as a
// mean and a median; or one that the balancer and Caddy's server both measure. That they move
// together is as sure as can be, and tells nobody anything. What the network and the balancer
// have to do with each other is never one thing.
func (k *pairPicker) sameThing(p correlate.Pair) bool {
	pipelines := either(pipelineOf(p.X), pipelineOf(p.Y))
	if p.LagSeconds != 0 || pipelines == either(pipelineBalancer, pipelineNetwork) {
		return false
	}
	_, x, _ := strings.Cut(p.X, "{")
	_, y, _ := strings.Cut(p.Y, "{")
	unit := k.known[p.X].Unit
	sameUnit := unit != "" && unit == k.known[p.Y].Unit
	return math.Abs(p.R) >= almostEqual || sameUnit && (x == y || pipelines == either(pipelineBalancer, pipelineHTTP))
}
