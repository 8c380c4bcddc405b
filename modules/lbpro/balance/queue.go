package balance

import (
	"container/list"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Errors of [Queue.Wait].
var (
	ErrQueueFull    = errors.New("the queue is full")
	ErrQueueTimeout = errors.New("waited in the queue for the longest time allowed")
)

// Queue holds the requests that no backend can take now, first come first served. Its
// bound is the caller's, given to Wait, because it is a setting of the handler.
//
// A place is given to the head of the queue whenever a request ends. When nothing ends,
// because nothing is in flight, Tick sends the head alone to see whether a backend is
// back; an answer then wakes two for one, so that a pool that comes back is filled in
// steps and not at once.
type Queue struct {
	pool    *Pool
	waiting counter

	mu    sync.Mutex
	order list.List // of chan struct{}
	woken time.Duration

	full, expired counter
}

// canaryEvery is how often the head of the queue is sent to see whether a backend is
// back, when nothing else is in flight.
const canaryEvery = 50 * time.Millisecond

// Ticket is a place in the queue. Its zero value stands at the end.
type Ticket struct{ first bool }

// Len returns the number of requests that wait.
func (q *Queue) Len() int64 { return q.waiting.Load() }

// Full returns how many were turned away because the queue was full.
func (q *Queue) Full() int64 { return q.full.Load() }

// Expired returns how many left because they had waited too long.
func (q *Queue) Expired() int64 { return q.expired.Load() }

// Wait blocks until it is this request's turn to choose again, at most until ctx ends or
// timeout has passed. A request whose turn brought nothing keeps its ticket and waits at
// the head again.
func (q *Queue) Wait(ctx context.Context, t *Ticket, size int, timeout time.Duration) error {
	turn := make(chan struct{})
	q.mu.Lock()
	if !t.first && q.order.Len() >= size {
		q.mu.Unlock()
		q.full.Add(1)
		return ErrQueueFull
	}
	var e *list.Element
	if t.first {
		e = q.order.PushFront(turn)
	} else {
		e = q.order.PushBack(turn)
	}
	t.first = true
	q.waiting.Add(1)
	q.mu.Unlock()

	timer := time.NewTimer(timeout)
	defer timer.Stop()
	var err error
	select {
	case <-turn:
		return nil
	case <-timer.C:
		err = ErrQueueTimeout
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-turn:
		// Woken in the same moment: the turn is passed on, not lost.
		q.wakeLocked(1)
	default:
		q.order.Remove(e)
		q.waiting.Add(-1)
	}
	if errors.Is(err, ErrQueueTimeout) {
		q.expired.Add(1)
	}
	return err
}

func (q *Queue) wakeLocked(n int) {
	for ; n > 0; n-- {
		e := q.order.Front()
		if e == nil {
			return
		}
		q.order.Remove(e)
		q.waiting.Add(-1)
		close(e.Value.(chan struct{}))
	}
}

// wake gives the turn to the next when a place at b has become free. In an outage only
// Tick does: there attempts end as soon as they begin, and each would call the next.
func (q *Queue) wake(b *Backend) {
	n := 1
	if b.fails.Load() == 0 {
		n = 2
	} else if q.pool.Outage() {
		return
	}
	if l := b.Limit(); l > 0 {
		// More would only find it full, and have to stand in line again.
		n = int(max(1, min(int64(n), l-b.InFlight())))
	}
	q.mu.Lock()
	q.wakeLocked(n)
	q.mu.Unlock()
}

// tick sends the head to look when nothing has been woken for a while, unless all backends are
// full: then it finds nothing, and another could take its place in a full queue meanwhile.
func (q *Queue) tick(all []*Backend, now time.Duration) {
	if q.waiting.Load() == 0 || len(all) > 0 && !slices.ContainsFunc(all, func(b *Backend) bool { return !b.Full() }) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if now-q.woken >= canaryEvery/2+time.Duration(randFloat()*float64(canaryEvery)) {
		q.woken = now
		q.wakeLocked(1)
	}
}
