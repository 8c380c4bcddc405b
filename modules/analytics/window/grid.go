package window

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// MaxCells bounds a grid. It is far above any window that analysis uses and
// keeps a hostile pair of timestamps from asking for the machine's memory.
const MaxCells = 1 << 22

// Grid is a regular grid of N instants, Step apart, the first at Start.
type Grid struct {
	Start time.Time
	Step  time.Duration
	N     int
}

// ErrGrid is wrapped by every error about a grid that cannot be made.
var ErrGrid = errors.New("unusable time grid")

// NewGrid returns the grid of step from start up to and including end.
func NewGrid(start, end time.Time, step time.Duration) (Grid, error) {
	switch {
	case step <= 0:
		return Grid{}, fmt.Errorf("%w: the step is %v; it must be positive", ErrGrid, step)
	case end.Before(start):
		return Grid{}, fmt.Errorf("%w: it ends (%v) before it starts (%v)", ErrGrid, end, start)
	}
	// time.Sub saturates, so a span of centuries still compares as too long.
	cells := end.Sub(start)/step + 1
	if cells > MaxCells {
		return Grid{}, fmt.Errorf("%w: %v to %v in steps of %v is more than %d cells; take a larger step or a shorter span",
			ErrGrid, start, end, step, MaxCells)
	}
	return Grid{Start: start, Step: step, N: int(cells)}, nil
}

// Time returns the instant of cell i.
func (g Grid) Time(i int) time.Time { return g.Start.Add(time.Duration(i) * g.Step) }

// End returns the instant of the last cell.
func (g Grid) End() time.Time { return g.Time(max(g.N-1, 0)) }

// Index returns the cell whose instant is nearest to t, and whether that cell
// is on the grid.
func (g Grid) Index(t time.Time) (int, bool) {
	i := nearest(t.Sub(g.Start), g.Step)
	if i < 0 || i >= int64(g.N) {
		return 0, false
	}
	return int(i), true
}

// Lag returns how many cells make up d, rounded to the nearest.
func (g Grid) Lag(d time.Duration) int { return int(nearest(d, g.Step)) }

// nearest is d/step rounded half up, without overflow at either end.
func nearest(d, step time.Duration) int64 {
	if d > math.MaxInt64-step/2 {
		d = math.MaxInt64 - step/2
	}
	d += step / 2
	q := int64(d / step)
	if d%step < 0 {
		q--
	}
	return q
}
