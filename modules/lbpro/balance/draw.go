package balance

// drawTries is how often draw tries its luck before it looks at everyone.
const drawTries = 16

// draw returns the index of an eligible backend other than not (-1 for any), drawn with
// a probability in proportion to its weight, or -1 when there is none. It draws at large
// and rejects, which is O(1) while many are eligible and weights are not far apart;
// after drawTries rejections it looks at all, with the same distribution.
func draw(list []*Backend, c *Choice, not int) int {
	n := len(list)
	others := n
	if not >= 0 {
		others--
	}
	if others <= 0 {
		return -1
	}
	if n > 2 {
		heaviest := list[0].pool.census.heaviestWeight()
		for range drawTries {
			r := fastrand()
			i := int((r >> 32) * uint64(others) >> 32)
			if not >= 0 && i >= not {
				i++
			}
			b := list[i]
			if !c.Eligible(b) {
				continue
			}
			if w := b.Weight(); w >= heaviest || float64(uint32(r))*(1.0/(1<<32))*heaviest < w {
				return i
			}
		}
	}
	// Weighted reservoir: the k-th candidate replaces the choice with weight/sum.
	chosen, sum := -1, 0.0
	for i, b := range list {
		if i == not || !c.Eligible(b) {
			continue
		}
		w := b.Weight()
		sum += w
		if chosen < 0 || randFloat()*sum < w {
			chosen = i
		}
	}
	return chosen
}

// lesser draws two backends and returns the one with the smaller load, the first drawn
// when they are equal, so that ties go by weight. The power of two choices.
func lesser(list []*Backend, c *Choice, load func(*Backend) float64) int {
	i := draw(list, c, -1)
	if i < 0 {
		return -1
	}
	j := draw(list, c, i)
	if j < 0 || load(list[i]) <= load(list[j]) {
		return i
	}
	return j
}

// perWeight is the load that the weighted policies compare: requests in flight over
// weight. Idle backends are equal whatever their weight, and ties are drawn in proportion
// to it; with (requests + 1) instead, a pool that has one request at a time would give
// them all to the heaviest.
func perWeight(b *Backend) float64 { return float64(b.inflight.Load()) / b.Weight() }
