package balance

import (
	"sync"
	"testing"
)

// picks returns how often each backend was chosen in n choices, and the sequence.
func picks(p Picker, list []*Backend, n int) (count []int, order []int) {
	count = make([]int, len(list))
	c := new(Choice)
	for range n {
		i := p.Pick(list, c)
		count[i]++
		order = append(order, i)
	}
	return count, order
}

func TestRoundRobinTakesTurns(t *testing.T) {
	list := poolOf(7).Backends()
	_, order := picks(new(RoundRobin), list, 70)
	for i := range len(order) - 7 {
		if order[i] != order[i+7] {
			t.Fatalf("turn %d went to %d, seven later to %d", i, order[i], order[i+7])
		}
		seen := make(map[int]bool)
		for _, x := range order[i : i+7] {
			seen[x] = true
		}
		if len(seen) != 7 {
			t.Fatalf("seven turns in a row reached only %d backends: %v", len(seen), order[i:i+7])
		}
	}
}

func TestRoundRobinIsSmooth(t *testing.T) {
	list := poolOf(3, 5, 1, 1).Backends()
	count, order := picks(new(RoundRobin), list, 700)
	for i, want := range []int{500, 100, 100} {
		if d := count[i] - want; d < -2 || d > 2 {
			t.Errorf("backend %d got %d of 700, want %d", i, count[i], want)
		}
	}
	for _, light := range []int{1, 2} {
		last := -1
		for at, i := range order {
			if i != light {
				continue
			}
			if gap := at - last; last >= 0 && (gap < 5 || gap > 9) {
				t.Errorf("backend %d had turns %d apart, want about 7", light, gap)
			}
			last = at
		}
	}
}

// The turns of one that cannot serve are shared by all, not given to its neighbour.
func TestRoundRobinSkipsEvenly(t *testing.T) {
	list := poolOf(6).Backends()
	list[2].state.Store(uint32(Ejected))
	count, _ := picks(new(RoundRobin), list, 500)
	for i, n := range count {
		want := 100
		if i == 2 {
			want = 0
		}
		if d := n - want; d < -1 || d > 1 {
			t.Errorf("backend %d got %d turns, want %d: %v", i, n, want, count)
		}
	}
}

func TestRoundRobinIsEvenUnderConcurrency(t *testing.T) {
	list := poolOf(8).Backends()
	r := new(RoundRobin)
	var mu sync.Mutex
	total := make([]int, len(list))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			count, _ := picks(r, list, 2000)
			mu.Lock()
			defer mu.Unlock()
			for i, n := range count {
				total[i] += n
			}
		})
	}
	wg.Wait()
	for i, n := range total {
		if n < 999 || n > 1001 {
			t.Errorf("backend %d got %d of 8000 turns, want 1000", i, n)
		}
	}
}

// Very light backends among which only one can serve are found all the same.
func TestRoundRobinFindsTheLight(t *testing.T) {
	p := poolOf(5, 1e-6, 1e-6, 1, 1e-6, 1e-6)
	list := p.Backends()
	list[2].state.Store(uint32(Ejected))
	count, _ := picks(new(RoundRobin), list, 400)
	for i, n := range count {
		if i != 2 && n < 50 {
			t.Errorf("backend %d got %d of 400, want about 100", i, n)
		}
	}
}
