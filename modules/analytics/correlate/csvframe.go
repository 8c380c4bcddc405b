package correlate

import (
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// CSVOptions say how to read a file.
type CSVOptions struct {
	// StepSeconds is the step of the grid; default what the timestamps show.
	StepSeconds float64
	// MaxPoints bounds the cells of the grid; default 20,000. A longer file is
	// averaged down to a multiple of its step.
	MaxPoints int
}

// ReadCSV reads a wide CSV file (see the package's command: first column time, in
// Unix seconds or RFC 3339; empty cells are gaps) and puts it on a regular grid.
// Columns that can only be counters become rates. Notes tell what was done that
// the file does not say. Errors wrap [ErrCSV] or [window.ErrGrid] and name the
// line.
func ReadCSV(r io.Reader, o CSVOptions) (f *window.Frame, notes []string, err error) {
	t, err := readTable(r, maxCSVBytes)
	if err != nil {
		return nil, nil, err
	}
	if o.MaxPoints == 0 {
		o.MaxPoints = DefaultMaxPoints
	}
	refresh, copied := t.dropCopies()
	if copied > 0 {
		notes = append(notes, fmt.Sprintf("%d of %d columns repeat each value until it is measured anew; the copies were left out", copied, len(t.names)))
	}
	step := o.StepSeconds
	if step == 0 {
		step = t.step()
	}
	if step == 0 {
		step = 1 // a single instant: any grid will do
	}
	span := t.times[len(t.times)-1] - t.times[0]
	if cells := span/step + 1; cells > float64(o.MaxPoints) {
		if o.StepSeconds != 0 {
			return nil, nil, fmt.Errorf("%w: %g s in steps of %g s; at most %d steps; take a larger one",
				window.ErrGrid, span, step, o.MaxPoints)
		}
		if cells > 100*float64(len(t.times)) {
			before, after, jump := t.longestGap()
			return nil, nil, fmt.Errorf("%w: %d rows span %g s, less than one in a hundred of their usual steps of %g s; between lines %d and %d are %g s: look for a wrong time there, or cut the file",
				window.ErrGrid, len(t.times), span, step, before, after, jump)
		}
		factor := math.Ceil(cells / float64(o.MaxPoints-1))
		notes = append(notes, fmt.Sprintf("averaged over steps of %g s, %g times what the file has, to fit %d", step*factor, factor, o.MaxPoints))
		step *= factor
	}
	place, err := window.Align(t.times, step)
	if err != nil {
		return nil, nil, err
	}
	f = &window.Frame{Grid: place.Grid, Offset: place.Offset, Signals: make([]window.Signal, len(t.names))}
	var counters int
	for i, name := range t.names {
		s := window.Signal{Name: name}
		column := t.columns[i]
		if window.LooksLikeCounter(name, column) {
			s.Kind = window.Counter
			window.Rates(column, t.times, column, 3*step*float64(refresh[i]))
			counters++
		}
		s.Values = place.Values(column)
		t.columns[i] = nil
		f.Signals[i] = s
	}
	if counters > 0 {
		notes = append(notes, fmt.Sprintf("%d of %d columns are counters; their rates were compared", counters, len(t.names)))
	}
	return f, notes, nil
}

// longestGap returns the lines between which the most time passes, in seconds.
func (t *table) longestGap() (before, after int, seconds float64) {
	for i := 1; i < len(t.times); i++ {
		if d := t.times[i] - t.times[i-1]; d > seconds {
			before, after, seconds = t.lines[i-1], t.lines[i], d
		}
	}
	return before, after, seconds
}

// dropCopies makes gaps of values that are only repeated because their source
// measures less often than there are rows, and drops the rows of which nothing is
// left. Two such columns move at the same instants, and each measurement would
// count several times. It returns how many of the remaining rows one value of
// each column stands for, and how many columns that concerns.
func (t *table) dropCopies() (refresh []int, columns int) {
	refresh = make([]int, len(t.columns))
	for i, c := range t.columns {
		if refresh[i] = window.RefreshOf(c); refresh[i] > 1 {
			window.DropCopies(c, refresh[i])
			columns++
		}
	}
	if columns == 0 {
		return refresh, 0
	}
	kept := 0
	for k := range t.times {
		if !slices.ContainsFunc(t.columns, func(c []float64) bool { return c[k] == c[k] }) {
			continue
		}
		t.times[kept] = t.times[k]
		for _, c := range t.columns {
			c[kept] = c[k]
		}
		kept++
	}
	t.times = t.times[:kept]
	for i := range t.columns {
		t.columns[i] = t.columns[i][:kept]
	}
	return refresh, columns
}

// step finds the cadence. Where rows of several sources are interleaved, each of
// their columns is regular at a larger step than the rows are; then the median of
// the columns' steps counts.
func (t *table) step() float64 {
	rows := window.EstimateStep(t.times)
	const sampled = 16
	var steps []float64
	for k := range min(sampled, len(t.columns)) {
		var times []float64
		for i, v := range t.columns[k*len(t.columns)/min(sampled, len(t.columns))] {
			if v == v {
				times = append(times, t.times[i])
			}
		}
		if len(times) < MinSamples {
			continue
		}
		s := window.EstimateStep(times)
		if s > 1.5*rows && !regular(times, s) {
			s = rows
		}
		steps = append(steps, s)
	}
	if len(steps) == 0 {
		return rows
	}
	slices.Sort(steps)
	return steps[len(steps)/2]
}

// regular reports whether most times are one step apart.
func regular(times []float64, step float64) bool {
	n := 0
	for i := 1; i < len(times); i++ {
		if math.Abs(times[i]-times[i-1]-step) < .4*step {
			n++
		}
	}
	return n > 3*len(times)/5
}
