package correlate

import (
	"context"
	"fmt"
	"math"
)

// Matrix holds the correlations of all pairs of an analysis at lag 0, of the
// whitened scores. Series of which nothing can be said have NaN.
type Matrix struct {
	Names []string
	// r is row-major, of len(Names)².
	r []float32
	a *Analysis
}

// tile is how many rows of scores are compared with as many others at a time, so
// that both stay in the processor's cache.
const tile = 48

// Matrix computes the correlations of all pairs at lag 0. 1,000 series of 1,000
// cells take about 25 ms on one core.
func (a *Analysis) Matrix(ctx context.Context) (*Matrix, error) {
	n := len(a.series)
	m := &Matrix{Names: a.Names(), r: make([]float32, n*n), a: a}
	tiles := (n + tile - 1) / tile
	err := a.parallel(ctx, tiles, func() func(int) {
		return func(i int) {
			for j := i; j < tiles && ctx.Err() == nil; j++ {
				m.fill(i*tile, j*tile)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// fill computes the tile whose first row and column are i0 and j0, and its mirror
// image.
func (m *Matrix) fill(i0, j0 int) {
	n, cells := len(m.Names), m.a.grid.N
	length := (cells + lanes - 1) / lanes * lanes
	blank := make([]float32, length)
	row := func(j int) []float32 {
		if j < n && m.a.series[j].unfit == "" {
			return m.a.series[j].z[:length]
		}
		return blank
	}
	var sum [4]float32
	for i := i0; i < min(i0+tile, n); i++ {
		x := m.a.series[i]
		for j := j0; j < min(j0+tile, n); j += 4 {
			if j+3 < i {
				continue
			}
			dot4(&sum, row(i), row(j), row(j+1), row(j+2), row(j+3))
			for k := max(j, i); k < min(j+4, n); k++ {
				m.set(i, k, correlationOf(x, m.a.series[k], sum[k-j], cells))
			}
		}
	}
}

func (m *Matrix) set(i, j int, r float32) {
	n := len(m.Names)
	m.r[i*n+j], m.r[j*n+i] = r, r
}

// correlationOf turns a sum of products into a correlation over the cells both
// series have.
func correlationOf(x, y *whitened, sum float32, cells int) float32 {
	n := cells
	if x.unfit != "" || y.unfit != "" {
		n = 0
	} else if x.n < cells || y.n < cells {
		n = x.mask.Overlap(y.mask, 0)
	}
	if n < MinSamples {
		return float32(math.NaN())
	}
	return min(max(sum/float32(n), -1), 1)
}

// At returns the correlation of the series at positions i and j of Names.
func (m *Matrix) At(i, j int) float64 { return float64(m.r[i*len(m.Names)+j]) }

// Order returns the positions of Names in the order of a hierarchical clustering by
// 1−|r|, in which what moves together stands together.
func (m *Matrix) Order() []int {
	n := len(m.Names)
	return Cluster(n, func(i, j int) float64 { return distance(m.r[i*n+j]) }).Order
}

// distance is 1−|r|, and 1 where there is none.
func distance(r float32) float64 {
	if r != r {
		return 1
	}
	return 1 - math.Abs(float64(r))
}

// Significant returns the pairs whose correlation at lag 0 is significant at the
// analysis' level over all pairs of the matrix, strongest first, at most limit of
// them (0: all), and how many there are.
func (m *Matrix) Significant(limit int) (pairs []Pair, total int) {
	r := &Result{a: m.a}
	n := len(m.Names)
	for i := range n {
		for j := i + 1; j < n; j++ {
			if v := m.At(i, j); v == v {
				r.records = append(r.records, m.record(i, j, v))
			}
		}
	}
	r.adjust()
	if limit <= 0 || limit > r.found {
		limit = r.found
	}
	pairs = make([]Pair, 0, limit)
	for p := range r.first(limit) {
		p.Method = fmt.Sprintf("%s at lag 0", p.Method)
		pairs = append(pairs, p)
	}
	return pairs, r.found
}

// record tests one entry of the matrix.
func (m *Matrix) record(i, j int, v float64) record {
	x, y := m.a.series[i], m.a.series[j]
	rec := record{x: int32(i), y: int32(j), q: 1}
	rec.r, rec.n = v, m.a.grid.N
	if x.n < rec.n || y.n < rec.n {
		rec.n = x.mask.Overlap(y.mask, 0)
	}
	// Most of half a million pairs are far from anything; Bartlett's sum is for the
	// others.
	rec.nEff = float64(rec.n)
	if v*v*rec.nEff > 1 {
		rec.nEff /= inflation(x, y, rec.n)
	}
	rec.p = scoreTail(v*math.Sqrt(rec.nEff), rec.nEff, x, y)
	return rec
}
