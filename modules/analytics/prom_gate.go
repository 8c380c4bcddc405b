package analytics

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// queryGate lets a bounded number of questions to the store run at a time, in the whole
// process: a reload does not double what may run.
var queryGate gate

// waitingPerPlace is how many may wait for each that runs. A dashboard asks for all its
// panels at once, so that a few have to.
const waitingPerPlace = 8

// gate is a semaphore whose size is given anew each time, with a bounded queue.
type gate struct {
	mu      sync.Mutex
	running int
	queue   []chan struct{}
}

// enter takes a place, waiting for one until ctx ends. leave gives it back.
func (g *gate) enter(ctx context.Context, size int) (leave func(), err error) {
	g.mu.Lock()
	if g.running < size && len(g.queue) == 0 {
		g.running++
		g.mu.Unlock()
		return g.leave, nil
	}
	if len(g.queue) >= size*waitingPerPlace {
		g.mu.Unlock()
		return nil, &promError{http.StatusTooManyRequests, promUnavailable, errors.New(
			"too many queries at a time: ask again later, or raise `query max_concurrent` in the configuration")}
	}
	turn := make(chan struct{})
	g.queue = append(g.queue, turn)
	g.mu.Unlock()
	select {
	case <-turn:
		return g.leave, nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	for i, t := range g.queue {
		if t == turn {
			g.queue = append(g.queue[:i], g.queue[i+1:]...)
			g.mu.Unlock()
			return nil, g.gaveUp(ctx)
		}
	}
	g.mu.Unlock()
	g.leave() // its turn came at the same moment
	return nil, g.gaveUp(ctx)
}

func (*gate) gaveUp(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return storeError(ctx.Err())
	}
	return &promError{http.StatusServiceUnavailable, promTimeout, errors.New(
		"other queries kept this one waiting until its time was over: ask again later, or raise `query max_concurrent` in the configuration")}
}

// leave gives a place back, to the one who has waited longest. A place that a smaller
// configuration no longer has is handed on all the same: it is gone when the queue is empty.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) > 0 {
		close(g.queue[0])
		g.queue = g.queue[1:]
		return
	}
	g.running--
}

// taken returns how many places are taken.
func (g *gate) taken() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running
}

// writeTime is how long a client may take to read an answer that holds a place.
const writeTime = time.Minute

// limitWriting keeps a client that does not read from holding its place for ever. The
// returned function takes the limit back for what else comes over the connection.
func (c *call) limitWriting() func() {
	control := http.NewResponseController(c.w)
	if control.SetWriteDeadline(time.Now().Add(writeTime)) != nil {
		return func() {} // there is no such thing here, as with a recorder in a test
	}
	return func() {
		_ = http.NewResponseController(c.w).SetWriteDeadline(time.Time{})
	}
}
