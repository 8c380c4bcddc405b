package lbpro

import (
	"context"
	"sync"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/internal/testbed"
)

// demoPlay has a backend of each side misbehave, act after act with a rest in between,
// over and over.
type demoPlay struct {
	victims []*testbed.Backend

	mu    sync.Mutex
	act   int       // index in demoActs
	on    bool      // the act is under way; else the rest before it
	until time.Time // when that ends
}

// demoAct is one way to misbehave.
type demoAct struct {
	fault testbed.Fault
	text  string // what the backend does, after its name
}

var demoActs = []demoAct{
	{testbed.Fault{Kind: testbed.Slow, For: 10 * time.Second, Factor: 30}, "takes thirty times as long"},
	{testbed.Fault{Kind: testbed.Error, For: 8 * time.Second}, "answers 500 to everything, at once"},
	{testbed.Fault{Kind: testbed.Hang, For: 8 * time.Second}, "accepts requests and never answers"},
	{testbed.Fault{Kind: testbed.Reset, For: 6 * time.Second}, "resets its connections"},
	{testbed.Fault{Kind: testbed.Restart, For: 4 * time.Second, Factor: 10, Ramp: 5 * time.Second}, "has crashed and comes back cold"},
}

const (
	demoPrelude = 5 * time.Second // before the first act
	demoRest    = 8 * time.Second // before the others
)

func newDemoPlay(victims []*testbed.Backend, began time.Time) *demoPlay {
	return &demoPlay{victims: victims, until: began.Add(demoPrelude)}
}

// run plays until ctx ends.
func (p *demoPlay) run(ctx context.Context) {
	timer := time.NewTimer(time.Until(p.until))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(time.Until(p.turn(time.Now())))
	}
}

// turn begins the next act, or the rest after one, and returns until when it lasts.
func (p *demoPlay) turn(now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.on {
		p.on = false
		p.act = (p.act + 1) % len(demoActs)
		p.until = now.Add(demoRest)
		return p.until
	}
	f := demoActs[p.act].fault
	for _, v := range p.victims {
		v.Heal()
		// The acts are well formed; a test holds that.
		_ = v.Inject(f)
	}
	p.on, p.until = true, now.Add(f.For)
	return p.until
}

// now returns the act that is under way, or with on false the one that is next, and how
// long until that changes.
func (p *demoPlay) now(t time.Time) (act demoAct, on bool, left time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return demoActs[p.act], p.on, max(0, p.until.Sub(t))
}
