package flowmaster

import "context"

// runner runs one function from start to stop. It is embedded by parts that are not
// done in the tick, because what they do takes a while.
type runner struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// begin calls f, which returns when its context ends.
func (r *runner) begin(f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan struct{})
	go func() {
		defer close(r.done)
		f(ctx)
	}()
}

// stop implements part: it returns when f has.
func (r *runner) stop() error {
	r.cancel()
	<-r.done
	return nil
}
