package lbpro

import (
	"cmp"
	"slices"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// poolFigures are a pool's state, totals and rates at one moment: what the metrics, the
// admin API and the commands show.
type poolFigures struct {
	balance.View
	codes    [6]int64 // what clients got, by class of status; [0] is an answer that broke off
	canceled int64    // clients that went away
	totals   totals   // of all backends together, also of those that have left
	rates    rates    // of what clients asked and got
	backends []backendFigures
}

// requests returns the number of requests that have ended.
func (p *poolFigures) requests() int64 {
	n := p.canceled
	for _, c := range p.codes {
		n += c
	}
	return n
}

// backendFigures are the same of one backend; its rates are of attempts.
type backendFigures struct {
	*balance.BackendView
	totals totals
	rates  rates
	share  float64 // of the pool's attempts of the last minute, 0 to 1
}

// totals is a copy of balance.Totals that can be added up.
type totals struct {
	requests, retries, hedges, hedgesWon, canceled, outrun, sent, received int64

	codes    [6]int64
	failures [8]int64
	ejected  map[balance.Reason]int64
}

func totalsOf(t *balance.Totals) totals {
	c := totals{
		requests: t.Requests.Load(), retries: t.Retries.Load(), hedges: t.Hedges.Load(), hedgesWon: t.HedgeWon.Load(),
		canceled: t.Canceled.Load(), outrun: t.Outrun.Load(), sent: t.Sent.Load(), received: t.Received.Load(),
		ejected: make(map[balance.Reason]int64, len(balance.Reasons)),
	}
	for i := range t.Codes {
		c.codes[i] = t.Codes[i].Load()
	}
	for i := range t.Failures {
		c.failures[i] = t.Failures[i].Load()
	}
	for _, r := range balance.Reasons {
		c.ejected[r] = t.Ejections(r)
	}
	return c
}

func (t *totals) add(o *totals) {
	t.requests += o.requests
	t.retries += o.retries
	t.hedges += o.hedges
	t.hedgesWon += o.hedgesWon
	t.canceled += o.canceled
	t.outrun += o.outrun
	t.sent += o.sent
	t.received += o.received
	for i := range t.codes {
		t.codes[i] += o.codes[i]
	}
	for i := range t.failures {
		t.failures[i] += o.failures[i]
	}
	if t.ejected == nil {
		t.ejected = make(map[balance.Reason]int64, len(balance.Reasons))
	}
	for r, n := range o.ejected {
		t.ejected[r] += n
	}
}

// figures takes everything together. It reads atomics and, briefly, the locks of the
// judging; requests do not notice.
func (p *sharedPool) figures(now time.Duration) poolFigures {
	f := poolFigures{View: p.View(now), canceled: p.clients.canceled.Load()}
	for i := range f.codes {
		f.codes[i] = p.clients.codes[i].Load()
	}
	change, window := p.clients.history.since(now, p.clients.counts())
	f.rates = change.over(window).withQuantiles(&p.clients.recent)

	p.mu.Lock()
	f.totals.add(&p.departed)
	p.mu.Unlock()
	sent := int64(0)
	f.backends = make([]backendFigures, len(f.Backends))
	for i := range f.Backends {
		x := &f.Backends[i]
		o := observersOf(x.Backend)
		change, window := o.history.since(now, o.counts(&x.Backend.Totals))
		f.backends[i] = backendFigures{
			BackendView: x,
			totals:      totalsOf(&x.Backend.Totals),
			rates:       change.over(window).withQuantiles(&o.recent),
		}
		f.totals.add(&f.backends[i].totals)
		sent += change.requests
	}
	for i := range f.backends {
		if sent > 0 {
			f.backends[i].share = float64(f.backends[i].rates.Requests) / float64(sent)
		}
	}
	return f
}

// forget keeps what a backend that has left adds to the pool's totals, which must not
// fall. p.mu is held.
func (p *sharedPool) forget(b *balance.Backend) {
	if b == nil {
		return
	}
	t := totalsOf(&b.Totals)
	p.departed.add(&t)
}

// allPools returns the pools of this process by name, those that only a configuration on
// its way out still uses included.
func allPools() []*sharedPool {
	var all []*sharedPool
	pools.Range(func(_, v any) bool {
		if p, ok := v.(*sharedPool); ok {
			all = append(all, p)
		}
		return true
	})
	slices.SortFunc(all, func(a, b *sharedPool) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
