package lbpro

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// observers are what the request path tells of one backend's answers. They outlive
// configurations together with the backend.
type observers struct {
	first, whole histogram
	recent       recent
	timed, took  atomic.Int64 // whole answers and their time in nanoseconds
	history      history
}

func newObservers() *observers {
	o := new(observers)
	o.first.since = time.Now()
	o.whole.since = o.first.since
	now := clock()
	o.recent.advance(now)
	o.history.add(now, counts{})
	return o
}

func observersOf(b *balance.Backend) *observers { return b.Data.(*observers) }

func (o *observers) firstByte(d time.Duration) { o.first.observe(d) }

func (o *observers) total(d time.Duration) {
	o.whole.observe(d)
	o.recent.record(d)
	o.timed.Add(1)
	o.took.Add(int64(d))
}

// counts returns the backend's totals that rates are made of.
func (o *observers) counts(t *balance.Totals) counts {
	c := counts{requests: t.Requests.Load(), timed: o.timed.Load(), took: time.Duration(o.took.Load())}
	for i := range t.Codes {
		c.judged += t.Codes[i].Load()
	}
	for i := range t.Failures {
		n := t.Failures[i].Load()
		c.failed += n
		if balance.Outcome(i) != balance.ServerError {
			c.judged += n // there was no answer that counts by its code
		}
	}
	return c
}

// clients is what the clients of a pool got, whatever was tried for them behind it.
type clients struct {
	codes       [6]atomic.Int64 // by class of status; [0] is an answer that broke off
	canceled    atomic.Int64    // the client went away
	timed, took atomic.Int64    // whole answers and their time in nanoseconds
	recent      recent
	history     history
}

// ended takes in a request that is over: with an answer of the status from a backend, or
// with err. A request by which the connection became something else says nothing of time.
func (c *clients) ended(q *request, err error) {
	t := &q.trip
	switch {
	case t.answered && t.status == http.StatusSwitchingProtocols:
		c.codes[1].Add(1)
		return
	case q.client.Err() != nil:
		c.canceled.Add(1)
		return
	case t.answered && t.response.err != nil:
		c.codes[0].Add(1)
		return
	case t.answered:
		c.codes[min(t.status/100, 5)].Add(1)
	default:
		c.codes[classOf(err)].Add(1)
	}
	now := t.ended
	if now == 0 { // no backend was asked
		now = clock()
	}
	took := now - q.began
	c.recent.record(took)
	c.timed.Add(1)
	c.took.Add(int64(took))
}

// classOf returns the class of the status that a client gets for the error.
func classOf(err error) int {
	var e caddyhttp.HandlerError
	if errors.As(err, &e) && e.StatusCode >= 100 {
		return min(e.StatusCode/100, 5)
	}
	return 5
}

// counts returns the totals that rates are made of: a client that went away says nothing
// of the server, and what it was told below 500 was its own doing.
func (c *clients) counts() counts {
	n := counts{requests: c.canceled.Load(), timed: c.timed.Load(), took: time.Duration(c.took.Load())}
	for i := range c.codes {
		n.judged += c.codes[i].Load()
	}
	n.requests += n.judged
	n.failed = c.codes[0].Load() + c.codes[5].Load()
	return n
}

// measure notes the totals of this moment for the rates of the next minute. The app calls
// it every second.
func (p *sharedPool) measure(now time.Duration) {
	p.clients.recent.advance(now)
	p.clients.history.add(now, p.clients.counts())
	for _, b := range p.Backends() {
		o := observersOf(b)
		o.recent.advance(now)
		o.history.add(now, o.counts(&b.Totals))
	}
}
