package balance

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Errors of an operator's actions.
var (
	// ErrLast refuses to take out the only backend that can serve.
	ErrLast = errors.New("no other backend of the pool can serve")
	// ErrDraining refuses an action on a backend that an operator has drained.
	ErrDraining = errors.New("the backend is draining")
	// ErrWeight refuses a weight that is not from 0 to MaxWeight.
	ErrWeight = errors.New("a weight must be a number from 0 to 1000000")
)

// MaxWeight is the largest weight.
const MaxWeight = 1e6

// operate runs an operator's action on b with p.tickMu and b.mu held, and tells of the
// events that it leaves.
func (p *Pool) operate(b *Backend, action func() error) error {
	p.tickMu.Lock()
	b.mu.Lock()
	err := action()
	b.mu.Unlock()
	events := p.events
	p.events = nil
	p.tickMu.Unlock()
	for _, e := range events {
		if p.OnEvent != nil {
			p.OnEvent(e)
		}
	}
	return err
}

// othersServe reports whether a backend other than b can take requests.
func (p *Pool) othersServe(b *Backend) bool {
	for _, x := range p.Backends() {
		if x != b && x.State() == Serving && x.Weight() > 0 {
			return true
		}
	}
	return false
}

// Eject takes the backend out by order of an operator: for the given time, after which a
// probe decides as after any ejection, or until [Backend.Restore] when it is 0. why is
// for people. The only backend that can serve is taken out with force only. In a panic
// of the pool, when too few backends are left, requests may still reach it; a drain
// never lets them.
func (b *Backend) Eject(length time.Duration, why string, force bool, now time.Duration) error {
	p := b.pool
	return p.operate(b, func() error {
		state := b.State()
		switch {
		case state == Draining:
			return fmt.Errorf("%w: undrain it first", ErrDraining)
		case state == Serving && !force && !p.othersServe(b):
			return ErrLast
		}
		b.health.until = 0
		if length > 0 {
			b.health.until = now + length
		}
		p.setState(b, Ejected, ReasonOperator, why, now)
		b.Totals.Ejected(ReasonOperator)
		p.events = append(p.events, Event{EventEjected, p, b, ReasonOperator, why, length})
		return nil
	})
}

// Restore ends an ejection, the pool's own or an operator's, without a probe: the backend
// comes back by slow start. It reports whether there was one to end.
func (b *Backend) Restore(now time.Duration) (was bool, err error) {
	p := b.pool
	err = p.operate(b, func() error {
		switch b.State() {
		case Draining:
			return fmt.Errorf("%w: undrain it instead", ErrDraining)
		case Serving:
			return nil
		}
		was = true
		b.health.times, b.health.until = 0, 0
		p.restore(b, now)
		return nil
	})
	return was, err
}

// SetWeight sets the operator's weight, which holds in place of the configured one, over
// reloads too, until [Backend.ClearWeight]: a share relative to 1, at most MaxWeight; 0
// takes no new requests.
func (b *Backend) SetWeight(w float64, now time.Duration) error {
	if !(w >= 0 && w <= MaxWeight) || math.IsNaN(w) {
		return ErrWeight
	}
	o := b.pool.Options()
	b.mu.Lock()
	b.configured, b.overridden = w, true
	b.publishWeightLocked(o, now)
	b.mu.Unlock()
	return nil
}

// ClearWeight puts the configured weight back in force.
func (b *Backend) ClearWeight(now time.Duration) {
	o := b.pool.Options()
	b.mu.Lock()
	b.configured, b.overridden = b.fromConfig, false
	b.publishWeightLocked(o, now)
	b.mu.Unlock()
}
