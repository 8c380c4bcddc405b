package analytics

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"go.uber.org/zap"
)

// panicked is an error that was a panic.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// guard calls f and makes an error of its panic: what fails in here is ours, and the
// traffic goes on.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicked{v, debug.Stack()}
		}
	}()
	return f()
}

// sleep waits, and reports whether it was not disturbed by the end of ctx.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}

// jitter is d give or take a tenth.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-.5)*.2*float64(d))
}

// watchClock notes when somebody sets the clock.
func (e *engine) watchClock(ctx context.Context) {
	last := time.Now()
	for sleep(ctx, time.Second) {
		now := time.Now()
		off := now.Round(0).Sub(last.Round(0)) - now.Sub(last) // wall clock less monotonic clock
		last = now
		if off.Abs() < time.Second {
			continue
		}
		what := "ahead"
		if off < 0 {
			what = "back"
		}
		text := fmt.Sprintf("the clock was set %s by %v at %s", what, off.Abs().Round(time.Second), now.UTC().Format(time.RFC3339))
		e.logger.Warn(text)
		e.mu.Lock()
		e.trouble.ClockSteps++
		e.trouble.LastStep = text
		e.mu.Unlock()
	}
}

// notePanic counts err if it was a panic.
func (e *engine) notePanic(where string, err error) {
	var p *panicked
	if !errors.As(err, &p) {
		return
	}
	panics.Inc()
	e.logger.Error("panic", zap.String("in", where), zap.Any("panic", p.value), zap.ByteString("stack", p.stack))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.trouble.Panics++
	e.trouble.LastPanic, e.trouble.PanicAt = fmt.Sprintf("%s: %v", where, p.value), time.Now()
}
