package correlate

import (
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// Analysis is a window of whitened series, ready to be asked. It is safe for
// concurrent use.
type Analysis struct {
	opts    Options
	grid    window.Grid
	series  []*whitened
	byName  map[string]int
	left    []LeftOut
	caveats []string
}

// Prepare whitens the signals of a frame. It takes about 0.4 ms for a series of
// 1,000 cells on one core; the answers that follow share the work. Too little data
// is no error; a name in the options that the frame does not have is, as is a
// window beyond the bounds. If ctx ends first, its error is returned.
func Prepare(ctx context.Context, f *window.Frame, o Options) (*Analysis, error) {
	o, err := o.normalise(f.Grid.N)
	if err != nil {
		return nil, err
	}
	a := &Analysis{opts: o, grid: f.Grid, byName: make(map[string]int)}
	for _, name := range []string{o.Target, o.Control} {
		if name != "" && f.Index(name) < 0 {
			return nil, fmt.Errorf("%w: no series is called %q", ErrOptions, name)
		}
	}
	if o.Target != "" && o.Target == o.Control {
		return nil, fmt.Errorf("%w: %q is both target and control; of itself nothing is left without itself", ErrOptions, o.Target)
	}
	chosen, left := selectSeries(f, o.MaxSeries, o.Target, o.Control)
	a.left = left
	if len(left) > 0 {
		a.caveats = append(a.caveats, fmt.Sprintf("%d series were left out", len(left)))
	}
	a.series = make([]*whitened, len(chosen))
	offset := f.Offset
	if negligible(offset) {
		offset = nil
	}
	err = a.parallel(ctx, len(chosen), func() func(int) {
		d := newDeseasoner(f.Grid.N, offset)
		return func(i int) { a.series[i] = whiten(f.Signals[chosen[i]], d, o.Method) }
	})
	if err != nil {
		return nil, err
	}
	for i, w := range a.series {
		a.byName[w.name] = i
	}
	if o.Control != "" {
		return a, a.control(ctx)
	}
	return a, nil
}

// negligible reports whether all timing errors are below a thousandth of a cell.
func negligible(offset []float64) bool {
	for _, v := range offset {
		if math.Abs(v) > 1e-3 {
			return false
		}
	}
	return true
}

// Names returns the names of the series looked at, in the order of the frame.
func (a *Analysis) Names() []string {
	names := make([]string, len(a.series))
	for i, w := range a.series {
		names[i] = w.name
	}
	return names
}

// LeftOut returns the series that were not looked at for want of room, and those
// of which nothing can be said, each with the reason.
func (a *Analysis) LeftOut() []LeftOut {
	out := append([]LeftOut(nil), a.left...)
	for _, w := range a.series {
		if w.unfit != "" {
			out = append(out, LeftOut{w.name, w.unfit})
		}
	}
	return out
}

// parallel calls the functions that start returns, one for each worker, with 0 to
// n−1, and reports progress. A panic of a worker is one of the caller, who may recover:
// in a goroutine of its own it would end the process.
func (a *Analysis) parallel(ctx context.Context, n int, start func() func(i int)) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex
	done := 0
	report := func() {
		mu.Lock()
		defer mu.Unlock()
		done++
		a.opts.Progress(done, n)
	}
	var failed atomic.Pointer[string]
	for range min(a.opts.Workers, n) {
		wg.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					text := fmt.Sprintf("%v\n%s", v, debug.Stack())
					failed.CompareAndSwap(nil, &text)
				}
			}()
			work := start()
			for ctx.Err() == nil && failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				work(i)
				if a.opts.Progress != nil {
					report()
				}
			}
		})
	}
	wg.Wait()
	if text := failed.Load(); text != nil {
		panic(*text)
	}
	return context.Cause(ctx)
}
