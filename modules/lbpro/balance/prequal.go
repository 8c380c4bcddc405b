package balance

import (
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// Prequal chooses by hot and cold (Wydrowski et al., "Load is not what you should balance:
// introducing Prequal", NSDI 2024). Of up to 16 backends whose requests in flight (RIF)
// and latency are known it calls those hot whose RIF per weight is above the
// Quantile-quantile of them, and chooses the cold one with the lowest latency. Latency is
// conditioned on RIF: what a request is expected to take at the load it would meet.
// Latencies within a tenth of the best count as equal.
//
// With Probe set, what is known are the answers of backends to probes, which cover the
// load that other balancers put on them: each choice asks for Rate probes of backends
// drawn at random; an answer serves for Age and for a limited number of choices, and each
// choice drops one, by turns the oldest and the worst. While fewer than two answers are at
// hand, and without Probe, it goes by what this balancer sees itself: its own requests
// in flight and [Backend.Cost] at that load, of 16 backends drawn at random. O(1).
//
// Ready to use as it is, but not to be copied after that.
type Prequal struct {
	// Quantile of RIF above which a backend is hot, above 0 up to 1, which balances by
	// latency alone. Default 2^-0.25 ≈ 0.84.
	Quantile float64
	// Age up to which an answer counts. Default 1 s.
	Age time.Duration
	// Rate is how many probes a choice asks for. Default 3; fractions are drawn.
	Rate float64
	// Probe asks for a probe of the backend. It must not block or allocate; the answer
	// goes to Report. It may drop requests when there are too many.
	Probe func(*Backend)

	answers probePool
	warm    atomic.Bool // an answer has come: the pool is worth looking at
}

const (
	probeAge  = time.Second
	probeRate = 3.0
	// probeDelta is the paper's δ in the number of uses of an answer.
	probeDelta = 1.0
)

var hotQuantile = math.Pow(2, -0.25)

// Report takes in a backend's answer to a probe: its requests in flight, and how long
// requests have taken there at about that load.
func (q *Prequal) Report(b *Backend, rif int, latency, now time.Duration) {
	q.answers.put(b, int32(min(max(rif, 0), math.MaxInt32/2)), max(latency, time.Microsecond).Seconds(), now)
	q.warm.Store(true)
}

// Pick implements [Picker].
func (q *Prequal) Pick(list []*Backend, c *Choice) int {
	if len(list) == 0 {
		return -1
	}
	if q.Probe == nil {
		return q.own(list, c)
	}
	q.ask(list)
	if !q.warm.Load() {
		return q.own(list, c)
	}
	now := list[0].pool.census.at()
	age := q.Age
	if age <= 0 {
		age = probeAge
	}
	var k known
	var slot [probeSlots]*probeSlot
	for i := range q.answers.slots {
		s := &q.answers.slots[i]
		b := s.backend.Load()
		if b == nil {
			continue
		}
		if now-time.Duration(s.at.Load()) > age {
			s.backend.CompareAndSwap(b, nil)
			continue
		}
		if !c.Eligible(b) {
			continue
		}
		at := b.placeIn(list)
		if at < 0 {
			continue
		}
		good := b.SuccessRate()
		took := math.Float64frombits(s.latency.Load()) / (good * good)
		took *= took
		slot[k.n] = s
		k.add(at, float64(s.rif.Load())/b.Weight(), took*took, b.Weight())
	}
	if k.n < 2 {
		return q.own(list, c)
	}
	limit := k.limit(q.Quantile)
	chosen := k.choose(limit)
	slot[chosen].used(list[k.index[chosen]], q.reuse(len(list)))
	q.answers.drop(limit)
	return int(k.index[chosen])
}

// ask asks for probes.
func (q *Prequal) ask(list []*Backend) {
	rate := q.Rate
	if rate <= 0 {
		rate = probeRate
	}
	for rate += randFloat(); rate >= 1; rate-- {
		i := randBelow(len(list))
		b := list[i]
		if State(b.state.Load()) != Serving {
			continue
		}
		if b.place.Load() != int32(i) {
			b.place.Store(int32(i))
		}
		q.Probe(b)
	}
}

// placeIn returns the index of b in list, -1 when it is not there. O(1) as long as it is
// where it was last found, else O(n).
func (b *Backend) placeIn(list []*Backend) int {
	if i := int(b.place.Load()); i < len(list) && list[i] == b {
		return i
	}
	i := slices.Index(list, b)
	if i >= 0 {
		b.place.Store(int32(i))
	}
	return i
}

// reuse returns how many choices an answer serves, so that the pool does not run dry:
// (1+δ) / ((1 − pool/n) · rate − 1), with one removal a choice; in small pools, where
// answers would not last that way, the size of the pool.
func (q *Prequal) reuse(n int) int32 {
	rate := q.Rate
	if rate <= 0 {
		rate = probeRate
	}
	left := (1-probeSlots/float64(n))*rate - 1
	if left <= 0 {
		return probeSlots
	}
	return int32(min(probeSlots, max(1, math.Ceil((1+probeDelta)/left))))
}

// own chooses by what this balancer sees itself.
func (q *Prequal) own(list []*Backend, c *Choice) int {
	n := len(list)
	w := walk{step: 1, left: n, n: n}
	if n > probeSlots {
		w = walk{at: randBelow(n), step: coprimeStep(n), left: n, n: n}
	}
	var k known
	for ; w.left > 0 && k.n < probeSlots; w.next() {
		b := list[w.at]
		if !c.Eligible(b) {
			continue
		}
		rif, weight, cost := float64(b.inflight.Load()), b.Weight(), b.Cost()
		// The fourth power of cost · crowding, which has the same order.
		x := (rif + 1) / (b.Width() * weight)
		cost, x = cost*cost, x*x
		k.add(w.at, rif/weight, cost*cost*(1+x*x), weight)
	}
	if k.n == 0 {
		return -1
	}
	return int(k.index[k.choose(k.limit(q.Quantile))])
}

// known is what is known of the backends to choose from.
type known struct {
	n      int
	index  [probeSlots]int32
	rif    [probeSlots]float64 // per weight
	took   [probeSlots]float64 // fourth power of the latency, see Adaptive
	weight [probeSlots]float64
}

func (k *known) add(index int, rif, took, weight float64) {
	i := k.n
	if uint(i) < probeSlots {
		k.index[i], k.rif[i], k.took[i], k.weight[i] = int32(index), rif, took, weight
		k.n = i + 1
	}
}

// limit returns the RIF above which a backend is hot: the quantile of those known.
func (k *known) limit(quantile float64) float64 {
	if quantile <= 0 {
		quantile = hotQuantile
	}
	if quantile >= 1 {
		return math.Inf(1)
	}
	sorted := k.rif
	n := k.n
	for i := 1; i < n; i++ {
		x, j := sorted[i], i
		for ; j > 0 && sorted[j-1] > x; j-- {
			sorted[j] = sorted[j-1]
		}
		sorted[j] = x
	}
	return sorted[int(quantile*float64(n-1))]
}

// choose returns the place of the chosen one: among the cold ones the fastest; the limit
// is one of the RIFs, so that some are always cold, unless a weight is 0. Latencies within
// coldBand count as equal, and one of those is drawn in proportion to weight.
func (k *known) choose(limit float64) int {
	best := math.Inf(1)
	for i, rif := range k.rif[:k.n] {
		if rif <= limit {
			best = min(best, k.took[i])
		}
	}
	best *= coldBand
	chosen, sum := 0, 0.0
	for i, rif := range k.rif[:k.n] {
		if rif > limit || k.took[i] > best {
			continue
		}
		if sum += k.weight[i]; sum == k.weight[i] || randFloat()*sum < k.weight[i] {
			chosen = i
		}
	}
	return chosen
}

// coldBand is the ratio of latencies that count as equal, 1.1, to the fourth power.
const coldBand = 1.1 * 1.1 * 1.1 * 1.1
