package balance

const (
	// scanAll is the largest number of backends that are all looked at; of more, drawn
	// are looked at.
	scanAll = 64
	drawn   = 24
)

// walk goes over the backends that a policy looks at: every one of up to scanAll, else in
// a random order without repeating one. at is the index of the current one.
type walk struct {
	at, step, left, n int
	look              int // most candidates
}

func newWalk(n int) walk {
	if n <= scanAll {
		return walk{step: 1, left: n, n: n, look: n}
	}
	return walk{at: randBelow(n), step: coprimeStep(n), left: n, n: n, look: drawn}
}

// next moves on.
func (w *walk) next() {
	w.left--
	if w.at += w.step; w.at >= w.n {
		w.at -= w.n
	}
}

// strides are primes above any number of backends, so that each modulo that number is
// coprime with it.
var strides = [...]uint32{
	15485863, 32452843, 49979687, 67867967, 86028121, 104395301, 122949823, 141650939,
	160481183, 179424673, 198491317, 217645177, 236887691, 256203161, 275604541, 295075147,
	314606869, 334214459, 353868013, 373587883, 393342739, 413158511, 433024223, 452930459,
	472882027, 492876847, 512927357, 533000389, 553105243, 573259391, 593441843, 613651349,
}

// coprimeStep returns a random step that visits all of n places before it repeats one.
func coprimeStep(n int) int {
	return int(strides[fastrand()%uint64(len(strides))] % uint32(n))
}

// tally collects the candidates that a policy has looked at, with their scores; lower is
// better.
type tally struct {
	n      int
	index  [scanAll]int32
	score  [scanAll]float64
	weight [scanAll]float32
}

// add takes in a candidate; there are never more than scanAll.
func (t *tally) add(i int, score, weight float64) {
	k := t.n
	if uint(k) < scanAll {
		t.index[k], t.score[k], t.weight[k] = int32(i), score, float32(weight)
		t.n = k + 1
	}
}

// draw returns one of the candidates whose scores are at most limit times the best, drawn
// in proportion to weight, or -1 when there are none.
func (t *tally) draw(limit float64) int {
	n := t.n
	if n == 0 {
		return -1
	}
	best := t.score[0]
	for _, s := range t.score[1:n] {
		best = min(best, s)
	}
	best *= limit
	sum, equal, last := float32(0), 0, 0
	for i, s := range t.score[:n] {
		if s <= best {
			sum += t.weight[i]
			last = i
			equal++
		}
	}
	if equal > 1 {
		x := float32(randFloat()) * sum
		for i, s := range t.score[:n] {
			if s > best {
				continue
			}
			if x -= t.weight[i]; x < 0 {
				last = i
				break
			}
		}
	}
	return int(t.index[last])
}
