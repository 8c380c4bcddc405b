package lbpro

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// pools has every pool of this process by name. It outlives configurations: a pool that
// stands in the old and the new one keeps its statistics, ejections and drains.
var pools = caddy.NewUsagePool()

// origin is the zero of the clock that package balance is given.
var origin = time.Now()

func clock() time.Duration { return time.Since(origin) }

// sharedPool is a pool with the count of how often configurations name each backend.
type sharedPool struct {
	*balance.Pool

	mu       sync.Mutex
	refs     map[string]int           // static members, by use
	seen     map[string]time.Duration // dynamic members, by when they last appeared
	signals  eventSink
	clients  clients
	departed totals       // of backends that have left
	outage   atomic.Int64 // since when no backend answers; 0 while one does
}

// watch notes when an outage of the whole pool begins and ends.
func (p *sharedPool) watch(now time.Duration) {
	switch out := p.Outage(); {
	case out && p.outage.Load() == 0:
		p.outage.Store(int64(now))
	case !out && p.outage.Load() != 0:
		p.outage.Store(0)
	}
}

// dynamicIdle is how long a dynamic upstream that is no longer reported stays known.
const dynamicIdle = time.Minute

// acquirePool returns the pool with the name, made with o if it is new. Give it back
// with releasePool.
func acquirePool(name string, o balance.Options) (*sharedPool, error) {
	v, _, err := pools.LoadOrNew(name, func() (caddy.Destructor, error) {
		p := &sharedPool{
			Pool: balance.NewPool(name, o),
			refs: make(map[string]int),
			seen: make(map[string]time.Duration),
		}
		p.Attach = func(*balance.Backend) any { return newObservers() }
		p.OnEvent = p.signals.emit
		p.clients.history.add(clock(), counts{})
		return p, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*sharedPool), nil
}

func releasePool(name string) { _, _ = pools.Delete(name) }

// Destruct implements caddy.Destructor. Whatever shows the pool looks for it in pools, so
// nothing of it is left.
func (p *sharedPool) Destruct() error { return nil }

// join makes id a member for one user more. fresh says that nobody else uses it yet.
func (p *sharedPool) join(id string) (b *balance.Backend, fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refs[id]++
	delete(p.seen, id)
	fresh = p.Get(id) == nil
	return p.Join(id, clock()), fresh
}

// leave ends one use; without any the backend leaves the pool.
func (p *sharedPool) leave(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refs[id]--; p.refs[id] > 0 {
		return
	}
	delete(p.refs, id)
	b := p.Get(id)
	p.Leave(id)
	p.forget(b)
}

// appear makes id a member because a dynamic source reports it.
func (p *sharedPool) appear(id string, now time.Duration) *balance.Backend {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refs[id] == 0 {
		p.seen[id] = now
	}
	return p.Join(id, now)
}

// expire lets dynamic members go that no source has reported for a while.
func (p *sharedPool) expire(now time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, at := range p.seen {
		if now-at > dynamicIdle {
			b := p.Get(id)
			if b != nil && b.InFlight() > 0 {
				continue
			}
			delete(p.seen, id)
			p.Leave(id)
			p.forget(b)
		}
	}
}
