package lbpro

import (
	"context"
	"maps"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// request is one request on its way through the handler. It belongs to the goroutine
// that serves it, but for hedge, which says itself what guards it.
//
// It is also the context that the attempts run under, so that the selector and the
// carrier, which Caddy's proxy calls, find it without a map.
type request struct {
	context.Context // what the attempts run under: client, or one that a hedge can end
	client          context.Context

	h        *Handler
	w        http.ResponseWriter
	r        *http.Request // runs under this context
	choice   balance.Choice
	body     *replayBody // nil without a body
	attempts int32
	holding  bool // this attempt holds a place in the retry budget
	pending  bool // the next one does
	queued   bool // has had its turn in the queue
	ticket   balance.Ticket
	trip     trip
	first    balance.Attempt // the first attempt, spared an allocation

	stop     error // why nothing could be chosen
	waitLeft time.Duration
	began    time.Duration

	hedge hedge
}

// trip is one attempt as the request sees it.
type trip struct {
	attempt  *balance.Attempt // nil before a backend is reserved and after it is given back
	upstream *reverseproxy.Upstream
	done     bool // the round trip is over; outcome is valid
	outcome  balance.Outcome
	answered bool  // an answer is passed to the client
	claimed  bool  // an answer was set aside because another attempt follows
	status   int32 // of the answer that is passed on
	ended    time.Duration
	sending  *replayReader
	cancel   context.CancelCauseFunc // of the attempt's own context, if it has one
	response responseBody

	upstreams reverseproxy.UpstreamPool // what the attempt chose from

	// What the attempt started from, before Caddy applied header operations.
	header http.Header
	host   string
}

type requestKey struct{}

// Value implements context.Context.
func (q *request) Value(key any) any {
	if key == (requestKey{}) {
		return q
	}
	return q.Context.Value(key)
}

// requestOf returns the request that ctx runs for, nil when it is not one of ours (an
// active health check).
func requestOf(ctx context.Context) *request {
	q, _ := ctx.Value(requestKey{}).(*request)
	return q
}

func newRequest(h *Handler, w http.ResponseWriter, r *http.Request) *request {
	ctx := r.Context()
	q := &request{Context: ctx, client: ctx, h: h, w: w, waitLeft: h.set.queueTimeout, began: clock()}
	q.choice.Idempotent = idempotent(r)
	q.first.Route = balance.KeyOf(r.Method, r.URL.Path, r.URL.RawQuery)
	if h.key != nil {
		q.choice.Key = h.key.RequestKey(r)
	}
	if hasBody(r) {
		q.body = &replayBody{src: r.Body, limit: h.set.maxBody}
	}
	if q.hedgeable() {
		q.Context, q.hedge.cancel = context.WithCancelCause(ctx)
	}
	q.r = r.WithContext(q)
	return q
}

// serve carries the request from attempt to attempt until one is answered or nothing
// more can be done.
func (q *request) serve(next caddyhttp.Handler) (err error) {
	pool := q.h.pool
	pool.Enter()
	defer func() {
		// Also when Caddy's proxy panics to abort a response that broke off.
		q.endTrip()
		if q.hedge.cancel != nil {
			q.hedge.cancel(context.Canceled)
		}
		if q.pending {
			pool.Budget.Give()
		}
		pool.clients.ended(q, err)
		pool.Exit()
	}()
	for {
		q.trip = trip{}
		if q.body != nil {
			q.trip.sending = q.body.fresh()
			q.r.Body = q.trip.sending
		}
		if q.attempts > 0 {
			q.ownVars()
		}
		err = q.h.Handler.ServeHTTP(q.w, q.r, next)
		q.endTrip()
		again, wait := q.again(err)
		if !again || wait > 0 && !sleep(q.client, wait) {
			return q.final(err)
		}
		q.renew()
	}
}

// renew has a dynamic source that caches look again before the next attempt, as Caddy's
// proxy would: what failed may be gone.
func (q *request) renew() {
	source, ok := q.h.DynamicUpstreams.(reverseproxy.CachingUpstreamSource)
	if !ok {
		return
	}
	if err := source.ResetCache(q.r); err != nil {
		q.h.logger.Error("clearing the cache of dynamic upstreams", zap.Error(err))
	}
}

// ownVars gives the next attempt request variables of its own. Caddy's proxy writes them
// at the start of every attempt, and a dial of the one before, which net/http finishes in
// the background, may still read them. What a repeated attempt sets is not seen after it.
func (q *request) ownVars() {
	if vars, ok := q.client.Value(caddyhttp.VarsCtxKey).(map[string]any); ok {
		q.r = q.r.WithContext(context.WithValue(q, caddyhttp.VarsCtxKey, maps.Clone(vars)))
	}
}

// choose picks and reserves a backend for the next attempt, waiting in the queue when it
// has to. Caddy's proxy calls it by way of selector.
func (q *request) choose(upstreams reverseproxy.UpstreamPool, r *http.Request) *reverseproxy.Upstream {
	h := q.h
	now := clock()
	list := h.members(upstreams, now)
	q.trip.upstreams = upstreams
	for {
		if q.queued || h.pool.Queue.Len() == 0 || h.longOutage(now) {
			if i, probe := h.pick(q, list, upstreams, r); i >= 0 {
				if q.begin(list[i], upstreams[i], probe, now) {
					return upstreams[i]
				}
				continue // another request has taken the last place there
			}
			if !anyLimited(list) {
				q.stop = errNoBackend
				return nil
			}
		}
		if q.stop = q.wait(); q.stop != nil {
			return nil
		}
		now = clock()
	}
}

// anyLimited reports whether waiting could help: some backend may only be at its limit. It
// does not ask whether it still is: a place may have become free since the choice failed.
func anyLimited(list []*balance.Backend) bool {
	for _, b := range list {
		if b.Limit() > 0 && b.Weight() > 0 && b.State() != balance.Draining {
			return true
		}
	}
	return false
}

// wait stands in the queue until it is this request's turn.
func (q *request) wait() error {
	if q.waitLeft <= 0 {
		return balance.ErrQueueTimeout
	}
	began := clock()
	err := q.h.pool.Queue.Wait(q.client, &q.ticket, q.h.set.queueSize, q.waitLeft)
	q.waitLeft -= clock() - began
	q.queued = true
	return err
}

// begin reserves the backend. It reports false when that is at its limit by now.
func (q *request) begin(b *balance.Backend, u *reverseproxy.Upstream, probe bool, now time.Duration) bool {
	a := &q.first
	if q.attempts > 0 {
		a = &balance.Attempt{Route: q.first.Route} // a hedge may still look at the first
	}
	if q.hedge.cancel != nil {
		a.Hedge = q
	}
	if probe {
		a.MarkProbe()
	}
	if q.trip.sending != nil {
		q.trip.sending.carriedBy(a)
	}
	if !b.TryBegin(a, now) {
		if probe {
			b.Unprobe()
		}
		*a = balance.Attempt{Route: a.Route}
		return false
	}
	if q.attempts++; q.attempts > 1 {
		b.Totals.Retries.Add(1)
	}
	q.holding, q.pending = q.pending, false
	q.trip.attempt, q.trip.upstream = a, u
	q.choice.Tried(b)
	if q.h.stick != nil {
		q.h.stick.Stick(q.w, q.r, b)
	}
	if c := q.h.logger.Check(zapcore.DebugLevel, "chose backend"); c != nil {
		c.Write(zap.String("pool", q.h.pool.Name), zap.String("backend", b.ID), zap.Int32("attempt", q.attempts),
			zap.Bool("probe", probe), zap.Float64("cost", b.Cost()), zap.Float64("width", b.Width()),
			zap.Float64("weight", b.Weight()), zap.Int64("in_flight", b.InFlight()))
	}
	return true
}

// endTrip gives the backend's place back and accounts for the attempt. It does nothing
// when there is none.
func (q *request) endTrip() {
	t := &q.trip
	a := t.attempt
	if a == nil {
		return
	}
	t.attempt = nil
	now := clock()
	t.ended = now
	o := balance.Canceled
	switch {
	case !t.done:
		// Caddy's proxy gave up before or in the round trip.
	case !t.answered:
		o = t.outcome
	case t.response.err != nil && q.client.Err() == nil:
		o = balance.TransportFailure // the body broke off, and not because of the client
	}
	if t.cancel != nil {
		t.cancel(context.Canceled)
	}
	won := q.endHedge()
	if won != nil {
		a.End(now, balance.Outrun)
		a.Backend().Totals.Outrun.Add(1)
		a = won
	}
	if t.answered {
		rest := t.response.rest()
		if q.client.Err() != nil {
			rest = -1
		}
		a.Delivered(now, rest)
	}
	a.End(now, o)
	b := a.Backend()
	b.Totals.Received.Add(t.response.n)
	if t.sending != nil {
		b.Totals.Sent.Add(t.sending.sent.Load())
	}
	switch {
	case t.answered && t.status == http.StatusSwitchingProtocols:
		// How long it is open says nothing of the backend.
	case q.client.Err() != nil:
		b.Totals.Canceled.Add(1)
	case t.answered && t.response.err == nil:
		observersOf(b).total(now - a.Start())
	}
	if q.holding {
		q.holding = false
		q.h.pool.Budget.Give()
	}
}
