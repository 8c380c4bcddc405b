package analytics

import (
	"context"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/correlate"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// summaryResource is the digest.
func summaryResource() *resource {
	return &resource{
		path: "analytics/summary", serve: serveSummary, answer: summaryAnswer{},
		about: "The digest: how the engine and the balancer are doing, and the surest of what moves together, rises, falls or has changed.",
	}
}

// summaryAnswer is the digest.
type summaryAnswer struct {
	Time     time.Time `json:"time"`
	State    string    `json:"state"`
	Problems []string  `json:"problems"`
	// How many pipelines there are, and which fail.
	Pipelines        int           `json:"pipelines"`
	FailingPipelines []string      `json:"failing_pipelines"`
	Signals          int           `json:"signals"`
	Series           int           `json:"series"`
	Store            *store.Status `json:"store,omitempty"`
	// The balancer's figures, over all pools; left out without a balancer.
	Balancer *statsTotals `json:"balancer,omitempty"`
	Findings findings     `json:"findings"`
}

// findings are the surest, at most a few of each: what moves together and what rises or falls
// from the reports that the engine keeps current, or of the last hour where these are old or
// missing. They are made anew when they are older than the analyze interval, and than 15 s.
type findings struct {
	At time.Time `json:"at"`
	// Series that move together, out of `tests` pairs: first the network against the balancer,
	// then the others, each the surest first.
	Correlations []correlate.Pair `json:"correlations"`
	Tests        int              `json:"tests"`
	// Pairs that are not shown because they are one thing measured twice: without a lag, not the
	// network against the balancer, and all but equal or the same quantity of the same backend.
	SameThing int `json:"same_thing"`
	// Pairs that are not shown because one that is shown is of the same quantities of the same
	// backends, such as means instead of medians.
	Alike int `json:"alike"`
	// Series that rise or fall.
	Trends []trend `json:"trends"`
	// Series that were different in the last five minutes from the time before.
	Changes []change `json:"changes"`
	// Why there may be less than expected.
	Notes []string `json:"notes"`
}

const (
	// mostFindings is how many of each kind are in the digest.
	mostFindings = 5
	// leastKept is how long findings are kept at the least: they take a processor's time.
	leastKept = 15 * time.Second
)

// lastFindings are shared by all who ask.
var lastFindings = findingsCache{turn: make(chan struct{}, 1)}

// findingsCache keeps findings until they are old. Whoever finds them old makes new ones, one
// at a time.
type findingsCache struct {
	turn chan struct{} // held while in use
	of   apiEngine
	last findings
}

func serveSummary(c *call) error {
	e, err := runningEngine()
	if err != nil {
		return err
	}
	status := e.StatusReport()
	a := summaryAnswer{
		Time: time.Now().UTC().Truncate(time.Millisecond), State: status.State, Problems: append([]string{}, status.Problems...),
		Pipelines: len(status.Pipelines), FailingPipelines: []string{}, Series: status.Windows.Series, Store: status.Store,
	}
	for _, p := range status.Pipelines {
		a.Signals += p.Signals
		if p.LastError != "" {
			a.FailingPipelines = append(a.FailingPipelines, p.Name)
		}
	}
	var pools balancerPools
	if balancer.ask(c.r, "pools", &pools) == nil {
		var s statsAnswer
		s.fill(pools)
		a.Balancer = &s.Totals
	}
	return c.limited(e, func(ctx context.Context) error {
		if a.Findings, err = lastFindings.get(ctx, e, time.Duration(status.Settings.AnalyzeIntervalSeconds*float64(time.Second))); err != nil {
			return storeError(err)
		}
		return c.writeJSON(a)
	})
}

// get returns findings that are not older than keep.
func (f *findingsCache) get(ctx context.Context, e apiEngine, keep time.Duration) (findings, error) {
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return findings{}, ctx.Err()
	}
	now := time.Now()
	if f.of == e && now.Sub(f.last.At) < max(keep, leastKept) {
		return f.last, nil
	}
	made, err := find(ctx, e, now)
	if err != nil {
		return findings{}, err
	}
	f.of, f.last = e, made
	return made, nil
}
