package balance

import (
	"testing"
	"time"
)

// probed returns a policy that has the given answers of the first backends.
func probed(p *Pool, rifs []int, latency []time.Duration) (*Prequal, *int) {
	asked := new(int)
	q := &Prequal{Probe: func(*Backend) { *asked++ }}
	for i := range rifs {
		q.Report(p.Backends()[i], rifs[i], latency[i], p.census.at())
	}
	return q, asked
}

const ms = time.Millisecond

func TestPrequalTakesTheFastestOfTheCold(t *testing.T) {
	p := poolOf(4)
	q, _ := probed(p, []int{3, 2, 50, 1}, []time.Duration{20 * ms, 10 * ms, ms, 40 * ms})
	if i := q.Pick(p.Backends(), new(Choice)); i != 1 {
		t.Errorf("picked %d; 2 is the fastest but hot, 1 the fastest of the cold", i)
	}
	q, _ = probed(p, []int{3, 2, 50, 1}, []time.Duration{20 * ms, 10 * ms, ms, 40 * ms})
	q.Quantile = 1
	if i := q.Pick(p.Backends(), new(Choice)); i != 2 {
		t.Errorf("picked %d; by latency alone it is 2", i)
	}
}

// A choice adds to what the answer said, so that one good answer does not draw a crowd.
func TestPrequalCountsWhatItSends(t *testing.T) {
	p := poolOf(1)
	b := p.Backends()[0]
	var s probeSlot
	s.backend.Store(b)
	s.rif.Store(4)
	s.used(b, 2)
	if got := s.rif.Load(); got != 5 || s.backend.Load() != b {
		t.Errorf("after one use of two: %d in flight, kept %v; want 5, true", got, s.backend.Load() == b)
	}
	s.used(b, 2)
	if s.backend.Load() != nil {
		t.Error("the answer is kept after its last use")
	}
}

func TestPrequalForgetsOldAnswers(t *testing.T) {
	p := poolOf(4)
	q, _ := probed(p, []int{0, 9, 9, 9}, []time.Duration{ms, time.Second, time.Second, time.Second})
	p.Tick(p.census.at()+2*time.Second, 5*ms)
	counts := make([]int, 4)
	for range 400 {
		counts[q.Pick(p.Backends(), new(Choice))]++
	}
	for i, n := range counts {
		if n < 50 {
			t.Errorf("backend %d got %d of 400: answers of two seconds ago still count", i, n)
		}
	}
	for i := range q.answers.slots {
		if b := q.answers.slots[i].backend.Load(); b != nil {
			t.Errorf("%s's old answer is still kept", b.ID)
		}
	}
}

func TestPrequalUsesAnAnswerOnlySoOften(t *testing.T) {
	p := poolOf(100)
	q := &Prequal{Probe: func(*Backend) {}}
	for i := range probeSlots {
		q.Report(p.Backends()[i], 0, ms, p.census.at())
	}
	for range 200 {
		q.Pick(p.Backends(), new(Choice))
	}
	left := 0
	for i := range q.answers.slots {
		if q.answers.slots[i].backend.Load() != nil {
			left++
		}
	}
	if left > 1 {
		t.Errorf("%d answers are left after 200 choices without a new one", left)
	}
}

func TestPrequalAsksAtItsRate(t *testing.T) {
	p := poolOf(50)
	for _, rate := range []float64{0, 0.5, 3} {
		q, asked := probed(p, nil, nil)
		q.Rate = rate
		want := rate
		if rate == 0 {
			want = probeRate
		}
		for range 4000 {
			q.Pick(p.Backends(), new(Choice))
		}
		if got := float64(*asked) / 4000; got < want*0.9-0.01 || got > want*1.1 {
			t.Errorf("rate %v: %v probes a choice", rate, got)
		}
	}
}

func TestPrequalKeepsTheNewestAnswers(t *testing.T) {
	p := poolOf(40)
	var pool probePool
	for i, b := range p.Backends() {
		pool.put(b, int32(i), 1, time.Duration(i+1)*ms)
	}
	last := p.Backends()[39]
	pool.put(last, 99, 1, 50*ms)
	have := make(map[*Backend]int32)
	for i := range pool.slots {
		s := &pool.slots[i]
		have[s.backend.Load()] = s.rif.Load()
	}
	if len(have) != probeSlots {
		t.Fatalf("%d different backends in %d slots", len(have), probeSlots)
	}
	if have[last] != 99 {
		t.Errorf("the last backend's answer is %d, want its newest, 99", have[last])
	}
	for i := 40 - probeSlots; i < 39; i++ {
		if have[p.Backends()[i]] != int32(i) {
			t.Errorf("the answer of backend %d, one of the newest, is gone", i)
		}
	}
}

func TestPrequalPassesOverTheIneligible(t *testing.T) {
	p := poolOf(3)
	q, _ := probed(p, []int{0, 1, 1}, []time.Duration{ms, 5 * ms, 9 * ms})
	p.Backends()[0].state.Store(uint32(Ejected))
	if i := q.Pick(p.Backends(), new(Choice)); i == 0 {
		t.Error("picked an ejected backend because its answer was good")
	}
}
