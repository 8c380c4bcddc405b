package analytics

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// frame returns what the windows have of the time from from to to, on the grid of the
// collect interval, and what its series are. Series of a shorter interval are averaged over
// each cell; those of a longer one have gaps.
func (e *engine) frame(from, to time.Time) (*window.Frame, []SeriesInfo) {
	step := time.Duration(e.app.CollectInterval)
	empty := &window.Frame{Grid: window.Grid{Start: from, Step: step}}
	h := e.history
	if h == nil {
		return empty, nil
	}
	var base *window.Frame
	var infos []SeriesInfo
	rings := h.all()
	cut := func(r *ring) (*window.Frame, []SeriesInfo) {
		points := int(time.Since(from)/r.step) + 2
		f := r.win.Frame(min(max(points, 1), h.points)).Slice(from, to)
		return f, r.infos(f)
	}
	// The grid is that of the collect interval if any pipeline has it, else the longest.
	for _, r := range rings {
		if r.step == step || base == nil && r == rings[len(rings)-1] {
			base, infos = cut(r)
		}
	}
	if base == nil {
		return empty, nil
	}
	for _, r := range rings {
		if r.step == base.Grid.Step || base.Grid.N == 0 {
			continue
		}
		f, more := cut(r)
		for i := range f.Signals {
			base.Signals = append(base.Signals, resample(f, i, base.Grid))
		}
		infos = append(infos, more...)
	}
	return base, infos
}

// resample puts signal i of f on another grid: the mean of what falls into each cell.
func resample(f *window.Frame, i int, g window.Grid) window.Signal {
	s := window.Signal{Name: f.Signals[i].Name, Kind: f.Signals[i].Kind, Values: make([]float64, g.N)}
	n := make([]int, g.N)
	for k, v := range f.Signals[i].Values {
		if cell, ok := g.Index(f.Grid.Time(k)); ok && !math.IsNaN(v) {
			s.Values[cell] += v
			n[cell]++
		}
	}
	for k := range n {
		if n[k] == 0 {
			s.Values[k] = math.NaN()
		} else {
			s.Values[k] /= float64(n[k])
		}
	}
	return s
}

var errNotRunning = errors.New("analytics does not run, or its store is not open yet: the status tells why")

// FrameFor returns the series called names from from to to with one value each step, out of
// the windows if they have that, else out of the store. A name is that of a series, of a signal
// (pipeline:signal), or of a pipeline; without names it returns all. A step of 0 takes
// the collect interval.
func (a *App) FrameFor(ctx context.Context, from, to time.Time, step time.Duration, names []string) (*window.Frame, []SeriesInfo, error) {
	e := a.engine
	if step == 0 {
		step = time.Duration(a.CollectInterval)
	}
	if step == time.Duration(a.CollectInterval) {
		if f, infos := e.frame(from, to); f.Grid.N > 0 && !f.Grid.Start.After(from.Add(step)) {
			f, infos = choose(f, infos, names)
			return f, infos, nil
		}
	}
	s := e.openedStore()
	if s == nil {
		return nil, nil, errNotRunning
	}
	grid, err := window.NewGrid(from, to, step)
	if err != nil {
		return nil, nil, err
	}
	f := &window.Frame{Grid: grid}
	var infos []SeriesInfo
	for _, p := range e.pipelines {
		for _, sig := range p.signals {
			if !slices.ContainsFunc(names, func(n string) bool { return concerns(n, p.Name, sig.Name) }) && len(names) > 0 {
				continue
			}
			infos, err = sig.load(ctx, s, f, infos, a.MaxSeries, names)
			if err != nil {
				return nil, nil, fmt.Errorf("signal %s:%s: %w", p.Name, sig.Name, err)
			}
		}
	}
	return f, infos, nil
}

// load appends the signal's series to the frame out of the store.
func (s *signalRun) load(ctx context.Context, st store.Store, f *window.Frame, infos []SeriesInfo, limit int, names []string) ([]SeriesInfo, error) {
	m, _, err := st.Range(ctx, s.expr, f.Grid.Start, f.Grid.End(), f.Grid.Step)
	if err != nil {
		return infos, err
	}
	for _, x := range m {
		info := describe(&s.Signal, x.Metric)
		if len(infos) >= limit || !wanted(info, names) {
			continue
		}
		values := make([]float64, f.Grid.N)
		for i := range values {
			values[i] = math.NaN()
		}
		for _, p := range x.Floats {
			if cell, ok := f.Grid.Index(time.UnixMilli(p.T)); ok && finite(p.F) {
				values[cell] = p.F
			}
		}
		f.Signals = append(f.Signals, window.Signal{Name: info.Name, Kind: window.Gauge, Values: values})
		infos = append(infos, info)
	}
	return infos, nil
}

// concerns reports whether a name may be that of a series of the signal.
func concerns(name, pipeline, signal string) bool {
	base, _, _ := strings.Cut(name, "{")
	return base == pipeline || base == pipeline+":"+signal
}

// wanted reports whether a series is among those called names.
func wanted(info SeriesInfo, names []string) bool {
	return len(names) == 0 || slices.ContainsFunc(names, func(n string) bool {
		return n == info.Name || n == info.Pipeline || n == info.Pipeline+":"+info.Signal
	})
}

func choose(f *window.Frame, infos []SeriesInfo, names []string) (*window.Frame, []SeriesInfo) {
	if len(names) == 0 {
		return f, infos
	}
	out := &window.Frame{Grid: f.Grid, Offset: f.Offset}
	var chosen []SeriesInfo
	for i, info := range infos {
		if wanted(info, names) {
			out.Signals = append(out.Signals, f.Signals[i])
			chosen = append(chosen, info)
		}
	}
	return out, chosen
}
