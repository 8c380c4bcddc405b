package window

import (
	"math"
	"time"
)

// Kind says what the samples of a signal are.
type Kind uint8

const (
	// Gauge samples are levels.
	Gauge Kind = iota
	// Counter samples only grow, save for resets to a lower value.
	Counter
)

func (k Kind) String() string {
	if k == Counter {
		return "counter"
	}
	return "gauge"
}

// Signal is one named series on the grid of its Frame.
type Signal struct {
	Name string
	// Values has one value a cell; NaN is a gap. For a counter these are
	// already rates, in units a second.
	Values []float64
	// Kind is what the samples were before they came here.
	Kind Kind
}

// Frame is a set of signals on one grid. It is a copy: whoever holds it may
// keep it, and nobody may change it.
type Frame struct {
	Grid    Grid
	Signals []Signal
	// Offset, where not nil, says for each cell how far from the cell's instant,
	// in cells within ±½, its samples were really taken. A season or a trend read at
	// the grid's instants instead would leave the same timing error in every
	// signal, and so a correlation that is not there.
	Offset []float64
}

// Names returns the names of the signals, in order.
func (f *Frame) Names() []string {
	names := make([]string, len(f.Signals))
	for i := range f.Signals {
		names[i] = f.Signals[i].Name
	}
	return names
}

// Index returns the position of the signal called name, or -1.
func (f *Frame) Index(name string) int {
	for i := range f.Signals {
		if f.Signals[i].Name == name {
			return i
		}
	}
	return -1
}

// Slice returns the part of the frame from instant from up to and including to,
// cut to what the frame has. It shares the frame's values.
func (f *Frame) Slice(from, to time.Time) *Frame {
	lo := max(nearest(from.Sub(f.Grid.Start)+f.Grid.Step/2-1, f.Grid.Step), 0) // first cell not before from
	hi := int64(f.Grid.N)
	if to.Before(f.Grid.End()) {
		hi = int64(max(to.Sub(f.Grid.Start), -1)/f.Grid.Step) + 1
		if to.Before(f.Grid.Start) {
			hi = 0
		}
	}
	lo = min(lo, int64(f.Grid.N))
	hi = max(hi, lo)
	out := &Frame{
		Grid:    Grid{Start: f.Grid.Time(int(lo)), Step: f.Grid.Step, N: int(hi - lo)},
		Signals: make([]Signal, len(f.Signals)),
	}
	for i, s := range f.Signals {
		out.Signals[i] = Signal{Name: s.Name, Kind: s.Kind, Values: s.Values[lo:hi:hi]}
	}
	if f.Offset != nil {
		out.Offset = f.Offset[lo:hi:hi]
	}
	return out
}

// MissingPct is the share of gaps among values, in percent.
func MissingPct(values []float64) float64 {
	if len(values) == 0 {
		return 100
	}
	gaps := 0
	for _, v := range values {
		if math.IsNaN(v) {
			gaps++
		}
	}
	return 100 * float64(gaps) / float64(len(values))
}
