package lbpro

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// hedge is the second try that runs beside an attempt whose backend has gone silent. The
// first answer wins. mu guards all of it; it is never held across a round trip.
type hedge struct {
	cancel context.CancelCauseFunc // ends the first attempt; nil when it must not be hedged

	mu      sync.Mutex
	req     *http.Request // what the first attempt sends; nil unless its round trip is under way
	running bool
	ended   chan struct{} // closed when the hedge's round trip is over
	stop    context.CancelFunc
	attempt *balance.Attempt
	res     *http.Response // the hedge's answer, when it won
}

// errOutrun is the cause of the first attempt's end when the hedge won.
var errOutrun = errors.New("another backend answered first")

// hedgeable reports whether the request may be doubled at all. With handle_response it is
// not, because its routes run under the context that a hedge ends.
func (q *request) hedgeable() bool {
	c := q.h.carrier
	// A client that sticks to a backend has its session there; another would answer
	// quickly, and wrongly.
	return q.h.set.hedge && q.h.stick == nil && q.choice.Idempotent && q.body == nil &&
		c.scheme != nil && len(q.h.HandleResponse) == 0 && !c.ProxyProtocolEnabled()
}

// openWith allows a hedge from now on, until closeWith.
func (g *hedge) openWith(req *http.Request) {
	g.mu.Lock()
	g.req = req
	g.mu.Unlock()
}

// StartHedge implements balance.Hedger. Tick calls it when it finds the attempt overdue on
// a backend that is silent or slow. It takes a place in the retry budget and does not
// block.
func (q *request) StartHedge(reason balance.HedgeReason) {
	g := &q.hedge
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.req == nil || g.running || !q.h.pool.Budget.Take(q.h.set.budget, q.h.set.floor) {
		return
	}
	g.running, g.ended = true, make(chan struct{})
	go q.runHedge(reason)
}

// runHedge tries the request at another backend.
func (q *request) runHedge(reason balance.HedgeReason) {
	g := &q.hedge
	defer q.h.pool.Budget.Give()
	a, req := q.prepareHedge(reason)
	if a == nil {
		return
	}
	b := a.Backend()
	res, err := q.h.carrier.inner.RoundTrip(req)
	now := clock()

	g.mu.Lock()
	defer g.mu.Unlock()
	defer close(g.ended)
	g.running = false
	if err != nil {
		o := outcomeOfError(err, req.Context(), req.Context())
		if o.Failed() {
			b.Failed(err.Error(), now)
		} else {
			b.Totals.Outrun.Add(1)
		}
		a.End(now, o)
		return
	}
	if o := outcomeOfStatus(res); g.req == nil || retryableStatus(o, res.StatusCode) {
		// Too late, or no better.
		account(a, res, o, now)
		a.End(now, balance.Canceled)
		discard(res.Body)
		return
	}
	b.Totals.HedgeWon.Add(1)
	g.attempt, g.res = a, res
	g.cancel(errOutrun)
}

// prepareHedge reserves another backend and makes the request for it. It returns nil
// when the first attempt is over or nobody else is there.
func (q *request) prepareHedge(reason balance.HedgeReason) (*balance.Attempt, *http.Request) {
	g := &q.hedge
	g.mu.Lock()
	defer g.mu.Unlock()
	t := &q.trip
	b, u := (*balance.Backend)(nil), (*reverseproxy.Upstream)(nil)
	if g.req != nil {
		b, u = q.h.pickHedge(q.choice, q.h.members(t.upstreams, clock()), t.upstreams)
	}
	if b == nil {
		g.running = false
		close(g.ended)
		return nil, nil
	}
	req, stop, err := q.hedgeRequest(u)
	if err != nil {
		g.running = false
		close(g.ended)
		return nil, nil
	}
	a := &balance.Attempt{Route: q.first.Route}
	if !b.TryBegin(a, clock()) {
		stop()
		g.running = false
		close(g.ended)
		return nil, nil
	}
	g.stop = stop
	b.Totals.Hedges.Add(1)
	if c := q.h.logger.Check(zapcore.DebugLevel, "hedging"); c != nil {
		c.Write(zap.String("pool", q.h.pool.Name), zap.String("backend", b.ID),
			zap.String("instead_of", t.upstream.String()), zap.String("reason", reason.String()))
	}
	return a, req
}

// hedgeRequest makes the request for upstream u out of the first attempt's: the same
// request with the header operations applied anew, under a replacer and variables of
// its own, since the first attempt's belong to the goroutine that serves it. g.mu is held.
func (q *request) hedgeRequest(u *reverseproxy.Upstream) (*http.Request, context.CancelFunc, error) {
	g := &q.hedge
	outer := q.client.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	repl := caddy.NewEmptyReplacer()
	repl.Map(outer.Get)
	di, err := dialInfo(u, repl)
	if err != nil {
		return nil, nil, err
	}
	setUpstream(repl, di, u)
	ctx := context.WithValue(q.client, caddy.ReplacerCtxKey, repl)
	if vars, ok := q.client.Value(caddyhttp.VarsCtxKey).(map[string]any); ok {
		ctx = context.WithValue(ctx, caddyhttp.VarsCtxKey, maps.Clone(vars))
	}
	ctx = context.WithValue(ctx, dialInfoKey, di)
	ctx, stop := context.WithCancel(ctx)
	req := g.req.WithContext(ctx)
	req.URL = direct(g.req.URL, di)
	user := q.h.Headers
	if c := q.h.carrier; c.ops != nil || user != nil && user.Request != nil {
		req.Header, req.Host = q.trip.header.Clone(), q.trip.host
		if c.ops != nil {
			c.ops.ApplyToRequest(req)
		}
		if user != nil && user.Request != nil {
			user.Request.ApplyToRequest(req)
		}
	}
	return req, stop, nil
}

// dialInfoKey is the key under which Caddy's proxy hands the address to its transport,
// where reverseproxy.GetDialInfo reads it. A test holds the two together.
const dialInfoKey caddy.CtxKey = "reverse_proxy.dial_info"

// setUpstream sets the placeholders that name the upstream.
func setUpstream(repl *caddy.Replacer, di reverseproxy.DialInfo, u *reverseproxy.Upstream) {
	repl.Set("http.reverse_proxy.upstream.address", di.String())
	repl.Set("http.reverse_proxy.upstream.hostport", di.Address)
	repl.Set("http.reverse_proxy.upstream.host", di.Host)
	repl.Set("http.reverse_proxy.upstream.port", di.Port)
	repl.Set("http.reverse_proxy.upstream.requests", u.Host.NumRequests())
	repl.Set("http.reverse_proxy.upstream.max_requests", u.MaxRequests)
	repl.Set("http.reverse_proxy.upstream.fails", u.Host.Fails())
}

// pickHedge chooses for a hedge: a backend in good standing that was not tried. It goes
// by speed whatever the policy, because it is there to save time.
func (h *Handler) pickHedge(c balance.Choice, list []*balance.Backend, upstreams reverseproxy.UpstreamPool) (*balance.Backend, *reverseproxy.Upstream) {
	for range min(len(list), 4) {
		i := c.PickOpen(list, balance.Adaptive{})
		if i < 0 {
			return nil, nil
		}
		if upstreams[i].Available() {
			return list[i], upstreams[i]
		}
		c.Tried(list[i])
	}
	return nil, nil
}

// settleHedge is called by the first attempt when its round trip is over. It returns the
// hedge's attempt when that has won, with res and err replaced by the hedge's. When the
// first attempt failed and the hedge is still under way, it waits for that one.
func (q *request) settleHedge(res **http.Response, err *error) *balance.Attempt {
	g := &q.hedge
	g.mu.Lock()
	if g.running && failed(*res, *err) {
		ended := g.ended
		g.mu.Unlock()
		select {
		case <-ended:
		case <-q.client.Done():
		}
		g.mu.Lock()
	}
	defer g.mu.Unlock()
	g.req = nil
	if g.res == nil {
		if g.stop != nil {
			g.stop()
		}
		return nil
	}
	if *err == nil {
		discard((*res).Body)
	}
	*res, *err = g.res, nil
	if repl, ok := q.client.Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		if di, ok := reverseproxy.GetDialInfo((*res).Request.Context()); ok {
			setUpstream(repl, di, di.Upstream)
		}
	}
	return g.attempt
}

// failed reports whether a round trip brought nothing that can be passed on.
func failed(res *http.Response, err error) bool {
	return err != nil || retryableStatus(outcomeOfStatus(res), res.StatusCode)
}

// endHedge ends what is left of a hedge, and returns its attempt when that carried the
// answer.
func (q *request) endHedge() *balance.Attempt {
	g := &q.hedge
	if g.cancel == nil {
		return nil
	}
	g.mu.Lock()
	won, stop := g.attempt, g.stop
	g.req, g.attempt, g.res, g.stop = nil, nil, nil, nil
	g.mu.Unlock()
	if stop != nil {
		stop()
	}
	return won
}
