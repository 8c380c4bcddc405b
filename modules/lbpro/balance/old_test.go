package balance
type oldAdaptive struct{ Band float64 }
func (a oldAdaptive) Pick(list []*Backend, c *Choice) int {
	band := a.Band
	if band <= 0 {
		band = bandValue
	}
	var index [scanAll]int32
	var score [scanAll]float32
	var weight [scanAll]float32
	n := len(list)
	from, step, look := 0, 1, n
	if n > scanAll {
		look = drawn
		from = randBelow(n)
		step = coprimeStep(n)
	}
	best := float32(0)
	k := 0
	for i, j := 0, from; i < n && k < look; i++ {
		b := list[j]
		if c.Eligible(b) {
			w := b.Weight()
			s := float32(b.Cost() * crowding(float64(b.inflight.Load()+1), b.Width()*w))
			index[k], score[k], weight[k] = int32(j), s, float32(w)
			if k == 0 || s < best {
				best = s
			}
			k++
		}
		if j += step; j >= n {
			j -= n
		}
	}
	if k == 0 {
		return -1
	}
	limit := best * float32(1+band)
	sum := float32(0)
	chosen := -1
	for i := range k {
		if score[i] > limit {
			continue
		}
		sum += weight[i]
		if chosen < 0 || float32(randFloat())*sum < weight[i] {
			chosen = int(index[i])
		}
	}
	return chosen
}
