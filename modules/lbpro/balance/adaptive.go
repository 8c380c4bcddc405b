package balance

// Adaptive sends each request to the backend that is predicted to answer it soonest:
//
//	score = cost · crowding((inflight + 1) / (width · weight))
//
// with cost and width as [Backend.Cost] and [Backend.Width] estimate them; see the notes
// at their source for what they build on. Backends whose scores are within Band of the
// best count as equal, and one of them is drawn at random in proportion to weight, so
// that several balancers do not herd and noise in the estimates does not steer.
//
// Up to 64 backends are all looked at; of more, 24 are drawn at random without
// replacement. Cost: O(min(n, 64)).
type Adaptive struct {
	// Band is the relative difference below which scores count as equal. Default 0.1.
	Band float64
}

const bandValue = 0.1

// Pick implements [Picker].
func (a Adaptive) Pick(list []*Backend, c *Choice) int {
	band := a.Band
	if band <= 0 {
		band = bandValue
	}
	var t tally
	w := newWalk(len(list))
	for ; w.left > 0 && t.n < w.look; w.next() {
		b := list[w.at]
		if !c.Eligible(b) {
			continue
		}
		// The fourth power of the score: it has the same order, and crowding is a
		// fourth root.
		weight, cost := b.Weight(), b.Cost()
		x := float64(b.inflight.Load()+1) / (b.Width() * weight)
		cost, x = cost*cost, x*x
		t.add(w.at, cost*cost*(1+x*x), weight)
	}
	band = (1 + band) * (1 + band)
	return t.draw(band * band)
}
