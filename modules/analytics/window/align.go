package window

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// niceSteps are collect intervals people set, in seconds. A measured step
// within timing noise of one of them is taken to be it.
var niceSteps = []float64{
	.1, .2, .25, .5, 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60, 120, 180, 240, 300,
	600, 900, 1200, 1800, 3600, 7200, 10800, 14400, 21600, 43200, 86400, 604800,
}

// EstimateStep finds the step in seconds of samples taken at times (Unix
// seconds, rising), which may be jittered and have gaps. It starts from the
// lower quartile of the differences, which gaps cannot move while a quarter of
// the differences are single steps; takes the frequency near it at which the
// instants line up best (Rayleigh's statistic |Σ exp(2πi f t)|); and then fits
// the instants against their own cell numbers by least squares. Jitter of ±⅓ of
// a step does no harm. Fewer than two distinct times give 0.
func EstimateStep(times []float64) float64 {
	diffs := make([]float64, 0, len(times))
	for i := 1; i < len(times); i++ {
		if d := times[i] - times[i-1]; d > 0 {
			diffs = append(diffs, d)
		}
	}
	if len(diffs) == 0 {
		return 0
	}
	slices.Sort(diffs)
	step := diffs[len(diffs)/4]
	// Jitter biases the quartile low: average what lies within half a step of it.
	sum, n := 0.0, 0
	for _, d := range diffs {
		if d > .5*step && d < 1.5*step {
			sum, n = sum+d, n+1
		}
	}
	if n > 0 {
		step = sum / float64(n)
	}
	head := times[:min(len(times), 256)]
	for len(head) > 8 && head[len(head)-1]-head[0] > 2000*step {
		head = head[:len(head)/2]
	}
	if len(head) > 8 {
		step = rayleighStep(head, step)
	}
	// Each fit is exact enough to number twice as many instants without a slip.
	for m := len(head); ; m = min(2*m, len(times)) {
		if next := fitStep(times[:m], step); next > .9*step && next < 1.1*step {
			step = next
		}
		if m == len(times) {
			break
		}
	}
	for _, nice := range niceSteps {
		// Over the whole span the two must not part by half a cell, or by 1 %.
		if math.Abs(step-nice) <= nice*min(.01, .5*nice/max(times[len(times)-1]-times[0], nice)) {
			return nice
		}
	}
	return step
}

// rayleighStep searches ±30 % around step, four frequencies to each resolvable
// one.
func rayleighStep(times []float64, step float64) float64 {
	span := times[len(times)-1] - times[0]
	if !(span > 0) {
		return step
	}
	best, at := -1.0, step
	for f := 1 / (1.3 * step); f <= 1/(.7*step); f += 1 / (4 * span) {
		var s, c float64
		for _, t := range times {
			sin, cos := math.Sincos(2 * math.Pi * f * (t - times[0]))
			s, c = s+sin, c+cos
		}
		if r := s*s + c*c; r > best {
			best, at = r, 1/f
		}
	}
	return at
}

// fitStep numbers the samples by rounding and regresses time on number.
func fitStep(times []float64, step float64) float64 {
	offset := phase(times, step)
	var n, sk, st, skk, skt float64
	for _, t := range times {
		k := math.Round((t - offset) / step)
		y := t - times[0]
		n, sk, st, skk, skt = n+1, sk+k, st+y, skk+k*k, skt+k*y
	}
	det := n*skk - sk*sk
	if det <= 0 {
		return step
	}
	return (n*skt - sk*st) / det
}

// phase returns an instant of the grid that lies in the middle of the samples'
// own jitter, within half a step of the first: the circular mean of times
// modulo step.
func phase(times []float64, step float64) float64 {
	var s, c float64
	for _, t := range times {
		sin, cos := math.Sincos(2 * math.Pi * math.Mod(t-times[0], step) / step)
		s, c = s+sin, c+cos
	}
	return times[0] + math.Atan2(s, c)/(2*math.Pi)*step
}

// Placement says which row of irregular samples goes to which cell of Grid.
type Placement struct {
	Grid Grid
	// Cell has the cell of each row.
	Cell []int32
	// Offset has the mean timing error of each cell's rows, in cells.
	Offset []float64
}

// Align places rows taken at times (Unix seconds, rising) on a grid of the given
// step in seconds, whose phase is chosen so that jitter around regular instants
// moves no row into a neighbour's cell.
func Align(times []float64, step float64) (*Placement, error) {
	if len(times) == 0 {
		return nil, fmt.Errorf("%w: no samples", ErrGrid)
	}
	first, last := times[0], times[len(times)-1]
	// Bounds in float first: converting what does not fit is undefined.
	if !(step > 0) || step > 1e9 || math.Abs(first) > 8e9 || math.Abs(last) > 8e9 {
		return nil, fmt.Errorf("%w: step %g s, from %g to %g Unix seconds", ErrGrid, step, first, last)
	}
	if cells := (last - first) / step; !(cells < MaxCells-2) {
		return nil, fmt.Errorf("%w: %g s of data in steps of %g s is more than %d cells; take a larger step",
			ErrGrid, last-first, step, MaxCells)
	}
	start := phase(times, step)
	p := &Placement{Cell: make([]int32, len(times))}
	n := int(math.Round((last-start)/step)) + 1
	p.Offset = make([]float64, n)
	rows := make([]int32, n)
	for i, t := range times {
		k := min(max(int(math.Round((t-start)/step)), 0), n-1)
		p.Cell[i] = int32(k)
		p.Offset[k] += (t-start)/step - float64(k)
		rows[k]++
	}
	for k := range p.Offset {
		if rows[k] > 0 {
			p.Offset[k] /= float64(rows[k])
		}
	}
	p.Grid = Grid{Start: fromUnix(start), Step: time.Duration(math.Round(step * 1e9)), N: n}
	if p.Grid.Step <= 0 {
		return nil, fmt.Errorf("%w: step %g s is below a nanosecond", ErrGrid, step)
	}
	return p, nil
}

// Values places one column: the mean of the rows of each cell, NaN where
// none has a sample.
func (p *Placement) Values(rows []float64) []float64 {
	out := make([]float64, p.Grid.N)
	n := make([]int32, p.Grid.N)
	for i, v := range rows {
		if !math.IsNaN(v) {
			out[p.Cell[i]] += v
			n[p.Cell[i]]++
		}
	}
	for k := range out {
		if n[k] == 0 {
			out[k] = math.NaN()
		} else {
			out[k] /= float64(n[k])
		}
	}
	return out
}

func fromUnix(s float64) time.Time {
	whole := math.Floor(s)
	return time.Unix(int64(whole), int64((s-whole)*1e9)).UTC()
}
