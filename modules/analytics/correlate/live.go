package correlate

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/blas/blas32"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// refreshEvery is how many ticks pass between two rows computed anew.
const refreshEvery = 4

// Live keeps the correlations of all pairs at lag 0 over a sliding window current
// from sample to sample. A tick whitens one sample of each series with the models
// fitted by [Prepare] and changes the sum of products of each pair by what
// enters and what leaves: O(1) a pair. Rounding does not build up: in turn, one row
// every few ticks is summed anew from the scores. The models are of the window that
// was analysed: make a new Live when a quarter of it has passed.
//
// It takes 5 bytes a cell and series and 6 bytes a pair of series, each way: 1,000
// series of 1,000 cells take 11 MB, and it keeps the analysis it continues. It is not safe for concurrent use.
type Live struct {
	a      *Analysis
	names  []string
	series []*online // nil where nothing can be said
	m, n   int
	cell   float64   // instant of the next tick, in cells since the window's start
	scores []float32 // ring of n rows of m, 0 in gaps
	gap    []bool    // the same, whether it is a gap
	oldest int       // row of the ring

	sum    []float32 // row-major; only j ≥ i is kept up
	total  []float64 // sum of scores of each series
	gaps   []int     // number of gaps of each series
	shared []uint16  // number of cells in which both series have gaps; j ≥ i
	row    []float32 // scratch: the scores that enter
	absent []int     // scratch: series with a gap
	ticks  int
}

// maxLiveCells bounds the window by what shared can count.
const maxLiveCells = math.MaxUint16

// NewLive continues an analysis of the frame it was prepared from.
func NewLive(a *Analysis, f *window.Frame) (*Live, error) {
	if f.Grid != a.grid {
		return nil, fmt.Errorf("%w: the frame is not the one that was analysed", ErrOptions)
	}
	if a.grid.N > maxLiveCells {
		return nil, fmt.Errorf("%w: a live window of %d cells; at most %d", ErrOptions, a.grid.N, maxLiveCells)
	}
	if a.opts.Control != "" {
		return nil, fmt.Errorf("%w: a control and a live matrix together; leave the control out", ErrOptions)
	}
	m, n := len(a.series), a.grid.N
	l := &Live{
		a:     a,
		names: a.Names(), series: make([]*online, m), m: m, n: n, cell: float64(n),
		scores: make([]float32, m*n), gap: make([]bool, m*n),
		sum: make([]float32, m*m), total: make([]float64, m), gaps: make([]int, m), shared: make([]uint16, m*m),
		row: make([]float32, m),
	}
	for i, w := range a.series {
		if w.unfit == "" {
			l.series[i] = continueFrom(w, f.Signals[f.Index(w.name)].Values)
		}
		for t := range n {
			at := t*m + i
			l.gap[at] = w.unfit != "" || !w.mask.Get(t)
			if !l.gap[at] {
				l.scores[at] = w.z[t]
			}
		}
	}
	for t := range n {
		l.countGaps(t, 1)
		for i, v := range l.scores[t*m : (t+1)*m] {
			l.total[i] += float64(v)
		}
	}
	for i := range m {
		l.refresh(i)
	}
	return l, nil
}

// Bytes is what it takes in memory, the scores of the analysis that it continues included.
func (l *Live) Bytes() int64 {
	b := 4*(len(l.scores)+len(l.sum)+len(l.row)) + len(l.gap) + 8*(len(l.total)+len(l.gaps)) + 2*len(l.shared)
	for i, w := range l.a.series {
		b += 4 * cap(w.z)
		if l.series[i] != nil {
			b += onlineBytes
		}
	}
	return int64(b)
}

// Names returns the names of the series, in the order Tick takes them.
func (l *Live) Names() []string { return l.names }

// Tick takes the samples of one new cell, NaN for gaps, in the order of Names. A
// counter's must be rates, as a window makes them. 1,000 series take about 0.2 ms.
func (l *Live) Tick(values []float64) {
	if l.m == 0 || l.n == 0 {
		return
	}
	for i, o := range l.series {
		v := math.NaN()
		if i < len(values) {
			v = values[i]
		}
		z := float32(math.NaN())
		if o != nil {
			z = o.next(v, l.cell)
		}
		l.row[i] = z
	}
	l.cell++
	l.push()
	if l.ticks%refreshEvery == 0 {
		l.refresh(l.ticks / refreshEvery % l.m)
	}
	l.ticks++
}

// push replaces the oldest row of scores by l.row and brings all sums up to date.
func (l *Live) push() {
	m := l.m
	old := l.scores[l.oldest*m : (l.oldest+1)*m]
	l.countGaps(l.oldest, -1)
	gap := l.gap[l.oldest*m : (l.oldest+1)*m]
	for i, v := range l.row {
		gap[i] = v != v
		if gap[i] {
			l.row[i] = 0
		}
		l.total[i] += float64(l.row[i]) - float64(old[i])
	}
	l.countGaps(l.oldest, 1)
	for i := range m {
		if v, w := l.row[i], old[i]; v != 0 || w != 0 {
			axpy2(l.sum[i*m+i:(i+1)*m], l.row[i:], old[i:], v, -w)
		}
	}
	copy(old, l.row)
	l.oldest = (l.oldest + 1) % l.n
}

// countGaps adds by to the gaps of row t, and of pairs that have one there both:
// O(k²) for k gaps.
func (l *Live) countGaps(t, by int) {
	l.absent = l.absent[:0]
	for i, g := range l.gap[t*l.m : (t+1)*l.m] {
		if g {
			l.gaps[i] += by
			if l.series[i] != nil {
				l.absent = append(l.absent, i)
			}
		}
	}
	for k, i := range l.absent {
		shared := l.shared[i*l.m : (i+1)*l.m]
		for _, j := range l.absent[k:] {
			shared[j] += uint16(by)
		}
	}
}

// refresh sums row i anew.
func (l *Live) refresh(i int) {
	m := l.m
	row := blas32.Vector{N: m - i, Inc: 1, Data: l.sum[i*m+i : (i+1)*m]}
	clear(row.Data)
	total := 0.0
	for t := range l.n {
		at := l.scores[t*m+i : (t+1)*m]
		if v := at[0]; v != 0 {
			blas32.Axpy(v, blas32.Vector{N: m - i, Inc: 1, Data: at}, row)
			total += float64(v)
		}
	}
	l.total[i] = total
}

// At returns the correlation of the series at positions i and j over the window,
// and over how many cells; NaN where these are fewer than [MinSamples].
func (l *Live) At(i, j int) (r float64, n int) {
	if i > j {
		i, j = j, i
	}
	if l.series[i] == nil || l.series[j] == nil {
		return math.NaN(), 0
	}
	n = l.n - l.gaps[i] - l.gaps[j] + int(l.shared[i*l.m+j])
	if n < MinSamples {
		return math.NaN(), n
	}
	mi, vi := l.moments(i)
	mj, vj := l.moments(j)
	if vi < standsStill*(1+mi*mi) || vj < standsStill*(1+mj*mj) {
		return math.NaN(), n
	}
	r = (float64(l.sum[i*l.m+j])/float64(n) - mi*mj) / math.Sqrt(vi*vj)
	return min(max(r, -1), 1), n
}

// standsStill is a variance of scores, which began at 1, too small to divide by.
const standsStill = 1e-3

// moments returns mean and variance of the scores of series i.
func (l *Live) moments(i int) (mean, variance float64) {
	n := float64(l.n - l.gaps[i])
	mean = l.total[i] / n
	return mean, float64(l.sum[i*l.m+i])/n - mean*mean
}

// Order is as [Matrix.Order].
func (l *Live) Order() []int {
	return Cluster(l.m, func(i, j int) float64 {
		r, _ := l.At(i, j)
		return distance(float32(r))
	}).Order
}
