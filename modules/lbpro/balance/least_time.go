package balance

// LeastTime takes the backend with the lowest
//
//	score = latency · (1 + inflight/weight) / successRate²
//
// where latency is [Backend.MeanLatency]; scores within Band of the best count as equal,
// and one of those is drawn in proportion to weight. It is nginx's least_time and
// Traefik's leasttime, whose latency · (1 + inflight) this is at weight 1, without the
// faults of the kind: a backend without samples counts as the pool's mean instead of 0
// and so draws no stampede; errors do not count as fast answers; and the latency of a
// backend that nobody asks returns to the pool's mean with a time constant of 10 s, so
// that it is tried again.
//
// Up to 64 backends are all looked at; of more, 24 drawn at random. O(min(n, 64)).
type LeastTime struct {
	// Band is the relative difference below which scores count as equal. Default 0.1.
	Band float64
}

// Pick implements [Picker].
func (l LeastTime) Pick(list []*Backend, c *Choice) int {
	band := l.Band
	if band <= 0 {
		band = bandValue
	}
	var t tally
	w := newWalk(len(list))
	for ; w.left > 0 && t.n < w.look; w.next() {
		if b := list[w.at]; c.Eligible(b) {
			weight, good := b.Weight(), b.SuccessRate()
			t.add(w.at, b.MeanLatency()*(weight+float64(b.inflight.Load()))/(weight*good*good), weight)
		}
	}
	return t.draw(1 + band)
}
