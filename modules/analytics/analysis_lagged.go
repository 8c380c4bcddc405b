package analytics

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/correlate"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// maxLaggedSpan is the largest lag between network and balancer that is looked for. The
// fewer lags, the weaker what can be told from chance.
const maxLaggedSpan = 5 * time.Minute

// signalTraffic is the request rate of a pool, the control.
const signalTraffic = "pool_requests_per_second"

// updateLagged compares what people feel of the balancer with the network, at all lags.
// Pairs that are significant are looked at again with the pool's request rate taken out: with
// more traffic most things grow.
func (s *analyses) updateLagged(ctx context.Context, f *window.Frame, infos []SeriesInfo, now time.Time) error {
	began := time.Now()
	network, outcomes, traffic := s.sides(f, infos)
	r := &LaggedReport{
		At: now, Window: spanOf(f.Grid), Level: s.opts.level, Pairs: []PairReport{}, Caveats: []string{},
		Network: len(network), Balancer: len(outcomes), leftOut: reportLeftOut(nil),
	}
	if len(network) == 0 || len(outcomes) == 0 {
		r.Caveats = append(r.Caveats, "there is nothing to compare: it takes signals of both the pipelines "+pipelineBalancer+" and "+pipelineNetwork)
		s.laggedNow.Store(r)
		return nil
	}
	part := pick(f, slices.Concat(network, outcomes, traffic))
	a, err := correlate.Prepare(ctx, part, correlate.Options{
		MaxSeries: max(len(part.Signals), 2), MaxLag: min(max(f.Grid.Lag(maxLaggedSpan), 3), correlate.DefaultMaxLag, max(f.Grid.N/4, 1)),
		Level: s.opts.level, Workers: 1,
	})
	if err != nil {
		return err
	}
	result, err := a.Between(ctx, namesOf(infos, network), namesOf(infos, outcomes))
	if err != nil {
		return err
	}
	about := infosByName(infos)
	for p := range result.Significant() {
		if len(r.Pairs) == maxReportPairs {
			r.Caveats = append(r.Caveats, fmt.Sprintf("%d of %d significant pairs are listed", len(r.Pairs), result.Discoveries()))
			break
		}
		r.Pairs = append(r.Pairs, reportPair(p, about))
	}
	if err := s.controlForTraffic(ctx, a, r.Pairs, about, namesOf(infos, traffic)); err != nil {
		return err
	}
	sum := result.Summary()
	r.Tests, r.Significant, r.MaxLag = sum.Tests, sum.Significant, sum.MaxLag
	r.leftOut = reportLeftOut(sum.LeftOut)
	if r.Tests == 0 {
		r.Caveats = append(r.Caveats, fmt.Sprintf("not enough data: a series needs %d samples that vary", correlate.MinSamples))
	}
	r.TookSeconds = time.Since(began).Seconds()
	s.laggedNow.Store(r)
	return nil
}

// sides picks from the frame, by position: the network's series, what people feel of the
// balancer (signals with a good direction), and the request rates of the pools. Where
// there are too many pairs, pools come before backends, then the fewest gaps, then the
// name.
func (s *analyses) sides(f *window.Frame, infos []SeriesInfo) (network, outcomes, traffic []int) {
	gaps := make([]float64, len(infos))
	for i, info := range infos {
		gaps[i] = window.MissingPct(f.Signals[i].Values)
		switch {
		case info.Pipeline == pipelineNetwork:
			network = append(network, i)
		case info.Pipeline == pipelineBalancer && info.Good != Neither:
			outcomes = append(outcomes, i)
		case info.Pipeline == pipelineBalancer && info.Signal == signalTraffic:
			traffic = append(traffic, i)
		}
	}
	backend := func(i int) int {
		if strings.HasPrefix(infos[i].Signal, "backend_") {
			return 1
		}
		return 0
	}
	for _, side := range [][]int{network, outcomes} {
		slices.SortStableFunc(side, func(a, b int) int {
			return cmp.Or(cmp.Compare(backend(a), backend(b)), cmp.Compare(gaps[a], gaps[b]), cmp.Compare(infos[a].Name, infos[b].Name))
		})
	}
	for len(network)*len(outcomes) > s.opts.maxPairs {
		if len(network) > len(outcomes) {
			network = network[:len(network)-1]
		} else {
			outcomes = outcomes[:len(outcomes)-1]
		}
	}
	return network, outcomes, traffic
}

// controlForTraffic looks at pairs again with the request rate of the pool of their y taken
// out of both.
func (s *analyses) controlForTraffic(ctx context.Context, a *correlate.Analysis, pairs []PairReport, about map[string]SeriesInfo, traffic []string) error {
	controls := make(map[string]string, len(traffic)) // by pool
	for _, name := range traffic {
		controls[about[name].Labels["pool"]] = name
	}
	of := make(map[string][]int) // by control
	for i, p := range pairs {
		if c, ok := controls[about[p.Y].Labels["pool"]]; ok {
			of[c] = append(of[c], i)
		}
	}
	var tested []int
	var ps []float64
	for control, members := range of {
		names := make([]string, 0, 2*len(members))
		for _, i := range members {
			for _, name := range []string{pairs[i].X, pairs[i].Y} {
				if !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
		given, err := a.Given(ctx, control, names...)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(given.LeftOut(), func(l correlate.LeftOut) bool { return l.Name == control }) {
			continue // there was no traffic that varied
		}
		for _, i := range members {
			p, err := given.Pair(pairs[i].X, pairs[i].Y)
			if err != nil {
				return err
			}
			pairs[i].Given = &GivenReport{Control: control, LagSeconds: p.LagSeconds, R: p.R, Rho: p.Rho, P: p.P, Q: p.P, N: p.N, NEff: p.NEff, Verdict: p.Verdict}
			if p.Verdict != correlate.NotEnoughData {
				tested, ps = append(tested, i), append(ps, p.P)
			}
		}
	}
	for k, q := range correlate.BenjaminiHochberg(ps, len(ps)) {
		g := pairs[tested[k]].Given
		g.Q, g.Verdict = q, correlate.NotSignificant
		if q <= s.opts.level {
			g.Verdict = correlate.Significant
		}
	}
	for i, p := range pairs {
		if p.Given != nil && p.Given.Verdict != correlate.Significant {
			pairs[i].Caveats = append(slices.Clone(p.Caveats), "it may be traffic that moves both: with "+p.Given.Control+" taken out nothing is left beyond chance")
		}
	}
	return nil
}

// pick is the part of a frame at some positions.
func pick(f *window.Frame, at []int) *window.Frame {
	out := &window.Frame{Grid: f.Grid, Offset: f.Offset, Signals: make([]window.Signal, len(at))}
	for k, i := range at {
		out.Signals[k] = f.Signals[i]
	}
	return out
}

func namesOf(infos []SeriesInfo, at []int) []string {
	names := make([]string, len(at))
	for k, i := range at {
		names[k] = infos[i].Name
	}
	return names
}

func spanOf(g window.Grid) correlate.Span {
	return correlate.Span{From: g.Start, To: g.End(), StepSeconds: g.Step.Seconds()}
}
