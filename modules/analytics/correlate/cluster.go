package correlate

import "math"

// Merge joins two clusters at a height: their mean distance. Numbers below the
// number of items are items; item count + k is the k-th merge.
type Merge struct {
	A      int     `json:"a"`
	B      int     `json:"b"`
	Height float64 `json:"height"`
}

// Dendrogram is a hierarchical clustering.
type Dendrogram struct {
	// Order has every item once, members of a cluster side by side.
	Order []int `json:"order"`
	// Merges has the joins, n−1 for n items, in the order in which they were found;
	// heights of nested clusters never decrease.
	Merges []Merge `json:"merges"`
}

// Cluster groups n items by average linkage over the distances given, by the
// nearest-neighbour chain (Murtagh 1983): O(n²) time, 8·n² bytes.
func Cluster(n int, distance func(i, j int) float64) *Dendrogram {
	if n == 0 {
		return &Dendrogram{Order: []int{}, Merges: []Merge{}}
	}
	c := newChain(n, distance)
	for len(c.out.Merges) < n-1 {
		c.join(c.reciprocal())
	}
	c.out.Order = c.order(n)
	return &c.out
}

// chain is the state of the algorithm. A slot holds a live cluster.
type chain struct {
	n     int
	d     []float64 // distances of slots, row-major
	size  []int
	id    []int // cluster number of each slot; -1 once merged away
	stack []int // slots, each the nearest neighbour of the one before
	out   Dendrogram
}

func newChain(n int, distance func(i, j int) float64) *chain {
	c := &chain{n: n, d: make([]float64, n*n), size: make([]int, n), id: make([]int, n)}
	for i := range n {
		c.size[i], c.id[i] = 1, i
		for j := range i {
			v := distance(i, j)
			if math.IsNaN(v) {
				v = 1
			}
			c.d[i*n+j], c.d[j*n+i] = v, v
		}
	}
	c.out.Merges = make([]Merge, 0, n-1)
	return c
}

// reciprocal follows nearest neighbours until two are each other's.
func (c *chain) reciprocal() (a, b int) {
	if len(c.stack) == 0 {
		for i, id := range c.id {
			if id >= 0 {
				c.stack = append(c.stack, i)
				break
			}
		}
	}
	for {
		top := c.stack[len(c.stack)-1]
		best, least := -1, math.Inf(1)
		if len(c.stack) > 1 {
			// The one before wins ties, or the chain could go round for ever.
			best = c.stack[len(c.stack)-2]
			least = c.d[top*c.n+best]
		}
		row := c.d[top*c.n : (top+1)*c.n]
		for j, v := range row {
			if v < least && j != top && c.id[j] >= 0 {
				best, least = j, v
			}
		}
		if len(c.stack) > 1 && best == c.stack[len(c.stack)-2] {
			c.stack = c.stack[:len(c.stack)-2]
			return top, best
		}
		c.stack = append(c.stack, best)
	}
}

// join merges slot b into slot a.
func (c *chain) join(a, b int) {
	c.out.Merges = append(c.out.Merges, Merge{c.id[a], c.id[b], c.d[a*c.n+b]})
	wa, wb := float64(c.size[a]), float64(c.size[b])
	for j := range c.n {
		if c.id[j] >= 0 && j != a && j != b {
			v := (wa*c.d[a*c.n+j] + wb*c.d[b*c.n+j]) / (wa + wb)
			c.d[a*c.n+j], c.d[j*c.n+a] = v, v
		}
	}
	c.size[a] += c.size[b]
	c.id[a], c.id[b] = c.n+len(c.out.Merges)-1, -1
}

// order lists the items below the last merge, the larger of two clusters first.
func (c *chain) order(n int) []int {
	order := make([]int, 0, n)
	count := make([]int, n+len(c.out.Merges))
	for i := range n {
		count[i] = 1
	}
	for k, m := range c.out.Merges {
		count[n+k] = count[m.A] + count[m.B]
	}
	stack := []int{len(count) - 1}
	for len(stack) > 0 {
		id := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if id < n {
			order = append(order, id)
			continue
		}
		m := c.out.Merges[id-n]
		if count[m.A] < count[m.B] || count[m.A] == count[m.B] && m.A > m.B {
			m.A, m.B = m.B, m.A
		}
		stack = append(stack, m.B, m.A)
	}
	return order
}
