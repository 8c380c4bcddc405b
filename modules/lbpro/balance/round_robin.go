package balance

import "sync/atomic"

// RoundRobin gives the backends their turns in proportion to weight, spread evenly: one
// of weight 5 among ones of weight 1 gets every fifth turn or so rather than five in a
// row. It is stride scheduling over one counter (Waldspurger and Weihl, 1995; gRPC's
// static stride scheduler is of this kind): place s of the sequence belongs to backend
// s mod n in round s / n, and the backend takes the turn in the rounds in which
//
//	round · weight/heaviest + phase
//
// passes a whole number. A backend that cannot take its turn gives it to nobody in
// particular: the sequence goes on, so its neighbour is not asked twice. The sequence
// starts at a random place, and phases are spread, so that several balancers and several
// heavy backends do not go in step.
//
// Lock-free: one compare-and-swap a choice. O(n · heaviest/Σweight), and O(n) when few
// are eligible. Ready to use as it is, but not to be copied after that.
type RoundRobin struct {
	place atomic.Uint64
	begun atomic.Bool
}

// roundRobinRounds bounds how long a choice goes over places that are not taken.
const roundRobinRounds = 8

// phaseStep spreads the phases of backends: the golden ratio, as a fraction of 2^32.
const phaseStep = 0x9e3779b9

// Pick implements [Picker].
func (r *RoundRobin) Pick(list []*Backend, c *Choice) int {
	n := uint64(len(list))
	if n == 0 {
		return -1
	}
	if !r.begun.Load() && r.begun.CompareAndSwap(false, true) {
		r.place.Add(fastrand() >> 24)
	}
	heaviest := list[0].pool.census.heaviestWeight()
	from := r.place.Load()
	for {
		place, i := nextTurn(list, c, from, heaviest)
		if i < 0 {
			// Nobody can, or all that can are very light.
			return draw(list, c, -1)
		}
		if r.place.CompareAndSwap(from, place+1) {
			return i
		}
		from = r.place.Load()
	}
}

// nextTurn returns the first place at or after from that is taken, and by whom, -1 when
// none is within bounds.
func nextTurn(list []*Backend, c *Choice, from uint64, heaviest float64) (uint64, int) {
	n := uint64(len(list))
	round, i := from/n, from%n
	able := false
	for k := range roundRobinRounds * n {
		if k == n && !able {
			break
		}
		if b := list[i]; c.Eligible(b) {
			able = true
			if onTurn(round, i, b.Weight(), heaviest) {
				return from + k, int(i)
			}
		}
		if i++; i == n {
			round, i = round+1, 0
		}
	}
	return 0, -1
}

// onTurn reports whether backend i takes its turn in the round: whether its phase, which
// grows by weight/heaviest a round, overflows. Fractions are in units of 2^-32.
func onTurn(round, i uint64, weight, heaviest float64) bool {
	if weight >= heaviest {
		return true
	}
	stride := uint32(weight / heaviest * (1 << 32))
	phase := uint32(round)*stride + uint32(i)*phaseStep
	return phase+stride < phase
}
