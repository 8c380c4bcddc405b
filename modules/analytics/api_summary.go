package analytics

import (
	"cmp"
	"context"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/correlate"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
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

// findings are the surest of the last hour, at most a few of each. They are made anew when
// they are older than the analyze interval,
// and than 15 s.
type findings struct {
	At time.Time `json:"at"`
	// Series that move together, out of `tests` pairs.
	Correlations []correlate.Pair `json:"correlations"`
	Tests        int              `json:"tests"`
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

// find looks at the last hour.
func find(ctx context.Context, e apiEngine, now time.Time) (findings, error) {
	r := findings{At: now.UTC(), Correlations: []correlate.Pair{}, Trends: []trend{}, Changes: []change{}, Notes: []string{}}
	from := now.Add(-defaultSpan)
	interval := max(time.Duration(e.StatusReport().Settings.CollectIntervalSeconds*float64(time.Second)), time.Millisecond)
	f, infos, err := e.FrameFor(ctx, from, now, interval*max(1, defaultSpan/interval/aimedPoints), nil)
	if err != nil {
		return r, err
	}
	f, left := firstSeries(f)
	if left > 0 {
		r.Notes = append(r.Notes, "there are more series than are looked at")
	}
	known := make(map[string]SeriesInfo, len(infos))
	for _, i := range infos {
		known[i.Name] = i
	}
	trends, err := correlate.Trends(ctx, f, 0)
	if err != nil {
		return r, err
	}
	for _, t := range trends {
		if t.Verdict == correlate.Significant {
			r.Trends = append(r.Trends, trend{t, known[t.Name].Unit, known[t.Name].Good})
		}
	}
	slices.SortStableFunc(r.Trends, func(x, y trend) int {
		return cmp.Or(cmp.Compare(x.P, y.P), cmp.Compare(math.Abs(y.Tau), math.Abs(x.Tau)))
	})
	r.Trends = r.Trends[:min(len(r.Trends), mostFindings)]
	split := now.Add(-defaultFocus)
	changes, err := correlate.Compare(ctx, f, correlate.Range{From: from, To: split.Add(-1)}, correlate.Range{From: split, To: now}, 0)
	if err != nil {
		return r, err
	}
	for _, x := range changes {
		if x.Verdict == correlate.Significant && len(r.Changes) < mostFindings {
			r.Changes = append(r.Changes, change{x, known[x.Name].Unit, known[x.Name].Good})
		}
	}
	return r, r.correlate(ctx, f, e)
}

func (r *findings) correlate(ctx context.Context, f *window.Frame, e apiEngine) error {
	if len(f.Signals) < 2 {
		r.Notes = append(r.Notes, "nothing to correlate yet: "+stateNote(e))
		return nil
	}
	prepared, err := correlate.Prepare(ctx, f, correlate.Options{MaxSeries: mostPairSeries, Workers: max(runtime.GOMAXPROCS(0)/2, 1)})
	if err != nil {
		return err
	}
	result, err := prepared.Lagged(ctx)
	if err != nil {
		return err
	}
	r.Tests = result.Tests()
	for p := range result.Significant() {
		if len(r.Correlations) == mostFindings {
			break
		}
		r.Correlations = append(r.Correlations, p)
	}
	if r.Tests == 0 {
		r.Notes = append(r.Notes, "not enough data to correlate yet: "+stateNote(e))
	}
	return nil
}
