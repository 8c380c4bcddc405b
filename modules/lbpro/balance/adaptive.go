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
// Up to 48 backends are all looked at; of more, 24 are drawn at random without
// replacement. Cost: O(min(n, 48)).
type Adaptive struct {
	// Band is the relative difference below which scores count as equal. Default 0.1.
	Band float64
}

const (
	scanAll   = 48
	drawn     = 24
	bandValue = 0.1
)

// Pick implements [Picker].
func (a Adaptive) Pick(list []*Backend, c *Choice) int {
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
		// Weighted reservoir: the i-th equal one replaces the choice with weight/sum.
		sum += weight[i]
		if chosen < 0 || float32(randFloat())*sum < weight[i] {
			chosen = int(index[i])
		}
	}
	return chosen
}

// coprimeStep returns a random step that visits all of n places before it repeats one.
func coprimeStep(n int) int {
	for {
		s := 1 + randBelow(n-1)
		if gcd(s, n) == 1 {
			return s
		}
	}
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
