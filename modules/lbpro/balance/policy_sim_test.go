package balance

import (
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"
)

// world plays requests against servers in virtual time: arrivals at random, each server
// with some workers and a queue.
type world struct {
	pool    *Pool
	pick    Picker
	rnd     *rand.Rand
	now     time.Duration
	events  eventQueue
	order   uint64
	servers map[*Backend]*server
	list    []*Backend
	placed  func(*Backend) // hears of every choice
}

type server struct {
	workers, busy int
	waiting       []func()
	serve         func(now time.Duration) (time.Duration, Outcome)
	head          time.Duration // when the first byte is sent, if before the end
	got           int
}

type event struct {
	at    time.Duration
	order uint64
	do    func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	x := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return x
}

func newWorld(pick Picker, seed uint64) *world {
	o := DefaultOptions()
	o.Eject.Disabled, o.SlowStart.Window, o.Hedge = true, 0, false
	return &world{
		pool: NewPool("sim", o), pick: pick, rnd: rand.New(rand.NewPCG(seed, 1)),
		servers: make(map[*Backend]*server), placed: func(*Backend) {},
	}
}

// after does f when d has passed.
func (w *world) after(d time.Duration, f func()) {
	w.order++
	heap.Push(&w.events, event{w.now + d, w.order, f})
}

// add joins a server that takes exponential times with the mean to answer.
func (w *world) add(id string, workers int, mean time.Duration) *server {
	b := w.pool.Join(id, w.now)
	s := &server{workers: workers, serve: func(time.Duration) (time.Duration, Outcome) {
		return time.Duration(w.rnd.ExpFloat64() * float64(mean)), Success
	}}
	w.servers[b] = s
	w.list = w.pool.Backends()
	return s
}

// run plays for d with the given arrivals a second.
func (w *world) run(d time.Duration, rate float64) {
	end := w.now + d
	var arrive, tick func()
	arrive = func() {
		if w.now >= end {
			return
		}
		w.request()
		w.after(time.Duration(w.rnd.ExpFloat64()/rate*float64(time.Second)), arrive)
	}
	tick = func() {
		if w.now >= end {
			return
		}
		w.pool.Tick(w.now, 5*time.Millisecond)
		w.after(5*time.Millisecond, tick)
	}
	tick()
	arrive()
	for len(w.events) > 0 && w.events[0].at <= end {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
	w.now = end
}

func (w *world) request() {
	c := &Choice{Key: w.rnd.Uint64()}
	i, _ := w.pool.Choose(w.list, w.pick, c)
	if i < 0 {
		return
	}
	b := w.list[i]
	s := w.servers[b]
	s.got++
	a := &Attempt{Route: KeyOf("GET", "/", "")}
	w.pool.Enter()
	b.Begin(a, w.now)
	w.placed(b)
	start := func() {
		s.busy++
		took, o := s.serve(w.now)
		if s.head > 0 && s.head < took {
			w.after(s.head, func() { a.FirstByte(w.now, o) })
		}
		w.after(took, func() {
			if a.FirstByte(w.now, o); s.head > 0 {
				a.Delivered(w.now, max(0, took-s.head))
			}
			a.End(w.now, o)
			w.pool.Exit()
			s.busy--
			if len(s.waiting) > 0 {
				next := s.waiting[0]
				s.waiting = s.waiting[1:]
				next()
			}
		})
	}
	if s.busy < s.workers {
		start()
	} else {
		s.waiting = append(s.waiting, start)
	}
}

// learners are the policies that learn from answers. Those of measured latency are
// built on latency.go, the others on estimate.go.
var (
	measured = []string{"peak_ewma", "least_time"}
	learners = append([]string{"adaptive", "prequal"}, measured...)
)

func forNamed(t *testing.T, names []string, f func(t *testing.T, pick Picker)) {
	for _, name := range names {
		for _, x := range policies {
			if x.name == name {
				t.Run(name, func(t *testing.T) { f(t, x.make()) })
			}
		}
	}
}

// A backend that answers errors in no time is always free and always fast. Policies that
// learn must not take it for the best one.
func TestFastFailingBackendDoesNotAttract(t *testing.T) {
	forNamed(t, learners, func(t *testing.T, pick Picker) {
		w := newWorld(pick, 1)
		for _, id := range []string{"a", "b", "c"} {
			w.add(id, 4, 10*time.Millisecond)
		}
		bad := w.add("bad", 4, 10*time.Millisecond)
		w.run(3*time.Second, 300)
		bad.serve = func(time.Duration) (time.Duration, Outcome) { return 100 * time.Microsecond, ServerError }
		w.run(time.Second, 300)
		bad.got = 0
		w.run(10*time.Second, 300)
		if share := float64(bad.got) / 3000; share > 0.06 {
			t.Errorf("the failing backend got %.1f %% of requests", share*100)
		}
	})
}

// A backend that nothing is known of must not get everything at once.
func TestColdBackendDoesNotStampede(t *testing.T) {
	forNamed(t, measured, func(t *testing.T, pick Picker) {
		w := newWorld(pick, 2)
		for _, id := range []string{"a", "b", "c", "d"} {
			w.add(id, 4, 20*time.Millisecond)
		}
		w.run(3*time.Second, 500)
		cold := w.add("cold", 4, 20*time.Millisecond)
		most, others := int64(0), int64(0)
		w.placed = func(*Backend) {
			for b, s := range w.servers {
				if s == cold {
					most = max(most, b.InFlight())
				} else {
					others = max(others, b.InFlight())
				}
			}
		}
		w.run(200*time.Millisecond, 500)
		if cold.got == 0 {
			t.Error("the new backend got nothing")
		}
		if most > others+2 {
			t.Errorf("the new backend had %d in flight at once, the others %d at most", most, others)
		}
	})
}

// A backend that was slow once is tried again after it has recovered.
func TestRecoveredBackendIsTriedAgain(t *testing.T) {
	forNamed(t, learners, func(t *testing.T, pick Picker) {
		w := newWorld(pick, 3)
		w.add("a", 4, 10*time.Millisecond)
		w.add("b", 4, 10*time.Millisecond)
		slow := w.add("slow", 4, 10*time.Millisecond)
		well := slow.serve
		w.run(2*time.Second, 600)
		slow.serve = func(time.Duration) (time.Duration, Outcome) { return 300 * time.Millisecond, Success }
		w.run(5*time.Second, 600)
		slow.got = 0
		w.run(5*time.Second, 600)
		if share := float64(slow.got) / 3000; share > 0.12 {
			t.Errorf("while slow it got %.1f %% of requests", share*100)
		}
		slow.serve = well
		w.run(60*time.Second, 600)
		slow.got = 0
		w.run(5*time.Second, 600)
		if share := float64(slow.got) / 3000; share < 0.15 {
			t.Errorf("a minute after its recovery it gets %.1f %% of requests, a third would be fair", share*100)
		}
	})
}
