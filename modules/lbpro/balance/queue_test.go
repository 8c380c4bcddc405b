package balance

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// While all backends are full nobody is sent to look: the queue stays as full as it is, and
// its head at the head. Where one has room, the head is.
func TestQueueLooksOnlyWhereThereIsRoom(t *testing.T) {
	synctest.Test(t, queueLooks)
}

func queueLooks(t *testing.T) {
	p := NewPool("t", DefaultOptions())
	b := p.Join("a", 0)
	b.Configure(1, false, 1, 0)
	now := time.Second
	var first Attempt
	b.Begin(&first, now)
	woken := make(chan error, 1)
	go func() { woken <- p.Queue.Wait(context.Background(), new(Ticket), 1, time.Minute) }()
	synctest.Wait() // until it waits
	for range 400 {
		now += 5 * time.Millisecond
		p.Tick(now, 5*time.Millisecond)
		if p.Queue.Len() != 1 {
			t.Fatalf("at %v the queue has %d, want 1", now, p.Queue.Len())
		}
	}
	if err := p.Queue.Wait(context.Background(), new(Ticket), 1, time.Minute); !errors.Is(err, ErrQueueFull) {
		t.Errorf("one too many is told %v", err)
	}
	b.Configure(1, false, 2, now)
	for range 400 {
		now += 5 * time.Millisecond
		p.Tick(now, 5*time.Millisecond)
	}
	if err := <-woken; err != nil {
		t.Errorf("the head is told %v", err)
	}
	first.End(now, Canceled)
}
