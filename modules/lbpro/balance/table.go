package balance

import (
	"slices"
	"sync/atomic"
	"time"
)

// tableOf keeps what a hashing policy derives from the membership of a list. It is made
// anew on a goroutine of its own while requests go on with the old one. Its zero value is
// empty.
type tableOf[T any] struct {
	now    atomic.Pointer[T]
	making atomic.Bool
}

// remakePause is the least time between two makings, so that lists which differ from
// request to request cost a bounded share of a processor.
const remakePause = 100 * time.Millisecond

// get returns the newest table, nil when there is none yet.
func (t *tableOf[T]) get() *T { return t.now.Load() }

// remake has a table made for list unless that has just been done. build is given the
// present table, which may be nil. The goroutine ends by itself after remakePause.
func (t *tableOf[T]) remake(list []*Backend, build func(list []*Backend, old *T) *T) {
	if t.making.Load() || !t.making.CompareAndSwap(false, true) {
		return
	}
	go func(list []*Backend) {
		defer t.making.Store(false)
		t.now.Store(build(list, t.now.Load()))
		time.Sleep(remakePause)
	}(slices.Clone(list))
}

// make makes the table here and now.
func (t *tableOf[T]) make(list []*Backend, build func(list []*Backend, old *T) *T) {
	t.now.Store(build(list, t.now.Load()))
}
