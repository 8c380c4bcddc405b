package lbpro

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// carrier is the transport that the embedded handler uses: it wraps the configured one,
// times the first byte, and decides while the answer is still at hand whether it is
// passed on or another attempt follows. What other transports offer beyond RoundTrip it
// passes through.
type carrier struct {
	h     *Handler
	inner http.RoundTripper
	ops   *headers.HeaderOps // the transport's own header operations
	// scheme is the transport's way to complete the URL; without it there are no hedges.
	scheme interface{ SetScheme(*http.Request) }
}

func newCarrier(h *Handler, inner http.RoundTripper) *carrier {
	c := &carrier{h: h, inner: inner}
	c.scheme, _ = inner.(interface{ SetScheme(*http.Request) })
	if t, ok := inner.(reverseproxy.RequestHeaderOpsTransport); ok {
		c.ops = t.RequestHeaderOps()
	}
	return c
}

// RoundTrip implements http.RoundTripper.
func (c *carrier) RoundTrip(req *http.Request) (*http.Response, error) {
	q := requestOf(req.Context())
	if q == nil || q.trip.attempt == nil {
		return c.inner.RoundTrip(req) // an active health check
	}
	res, ctx, err := c.carry(q, req)
	t, now := &q.trip, clock()
	won := q.settleHedge(&res, &err)
	a := t.attempt
	if won != nil {
		a = won
	}
	t.done = true
	if err != nil {
		t.outcome = outcomeOfError(err, ctx, q.client)
		b := a.Backend()
		if t.outcome.Failed() {
			b.Failed(err.Error(), now)
		}
		return nil, plainError(err, t.outcome, ctx)
	}
	t.outcome = outcomeOfStatus(res)
	account(a, res, t.outcome, now)
	if retryableStatus(t.outcome, res.StatusCode) {
		if q.claim(t.outcome) {
			t.claimed = true
			discard(res.Body)
			return nil, fmt.Errorf("%w: status %d from %s", errClaimed, res.StatusCode, a.Backend().ID)
		}
	}
	t.answered, t.status = true, int32(res.StatusCode)
	c.count(t, res, a.Backend(), now)
	return res, nil
}

// errClaimed tells Caddy's proxy that the attempt failed; another follows.
var errClaimed = errors.New("trying another backend")

// carry makes the round trip. It returns the context that it ran under.
func (c *carrier) carry(q *request, req *http.Request) (*http.Response, context.Context, error) {
	ctx := req.Context()
	if c.scheme != nil {
		// The transport would do so itself; done here, a hedge may read the URL while
		// the transport runs.
		c.scheme.SetScheme(req)
	}
	if perTry := q.h.set.perTry; perTry > 0 {
		// The context must live as long as the answer's body.
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		q.trip.cancel = cancel
		req = req.WithContext(ctx)
		timer := time.AfterFunc(perTry, func() { cancel(errPerTry) })
		defer timer.Stop()
	}
	if q.trip.attempt.Hedge != nil && (req.Body == nil || req.Body == http.NoBody) {
		q.hedge.openWith(req)
	}
	res, err := c.inner.RoundTrip(req)
	return res, ctx, err
}

// account tells the backend's statistics of an answer.
func account(a *balance.Attempt, res *http.Response, o balance.Outcome, now time.Duration) {
	b := a.Backend()
	if a.Answered() == 0 {
		a.FirstByte(now, o)
	}
	if endless(res) {
		a.Delivered(now, 0)
	}
	b.Totals.Codes[min(res.StatusCode/100, 5)].Add(1)
	observersOf(b).firstByte(a.Answered())
	switch {
	case o.Failed():
		b.Failed(fmt.Sprintf("status %d", res.StatusCode), now)
	case o == balance.TooBusy:
		if d := retryAfter(res, time.Now()); d > 0 && res.StatusCode == http.StatusServiceUnavailable {
			b.Rest(now + d)
		}
	}
}

// count puts the answer's body behind a counter.
func (c *carrier) count(t *trip, res *http.Response, b *balance.Backend, now time.Duration) {
	if res.StatusCode == http.StatusSwitchingProtocols {
		if conn, ok := res.Body.(io.ReadWriteCloser); ok {
			res.Body = &upgradedBody{conn, &b.Totals.Received, &b.Totals.Sent}
		}
		return
	}
	if res.Body != nil && res.Body != http.NoBody {
		t.response.ReadCloser, t.response.from = res.Body, now
		res.Body = &t.response
	}
}

// plainError keeps Caddy's proxy from taking an attempt that we ended for a client that
// went away.
func plainError(err error, o balance.Outcome, ctx context.Context) error {
	switch {
	case o == balance.Timeout && errors.Is(context.Cause(ctx), errPerTry):
		return perTryError{}
	case o != balance.Canceled && errors.Is(err, context.Canceled):
		return errors.New(err.Error())
	}
	return err
}

// perTryError makes Caddy's proxy answer 504.
type perTryError struct{}

func (perTryError) Error() string { return errPerTry.Error() }
func (perTryError) Timeout() bool { return true }

// Temporary implements net.Error.
func (perTryError) Temporary() bool { return true }

// Is lets errors.Is find errPerTry.
func (perTryError) Is(target error) bool { return target == errPerTry }

// discard empties a short body, so that its connection can be used again, and closes it.
func discard(body io.ReadCloser) {
	if body == nil {
		return
	}
	_, _ = io.CopyN(io.Discard, body, 4<<10)
	_ = body.Close()
}

// direct points req at the upstream as Caddy's proxy would, for a hedge.
func direct(to *url.URL, di reverseproxy.DialInfo) *url.URL {
	u := *to
	u.Host = di.Address
	if u.Scheme == "http" && di.Port == "80" || u.Scheme == "https" && di.Port == "443" {
		u.Host = di.Host
	}
	return &u
}

// dialInfo resolves the address of an upstream, which may have placeholders.
func dialInfo(u *reverseproxy.Upstream, repl *caddy.Replacer) (reverseproxy.DialInfo, error) {
	addr, err := caddy.ParseNetworkAddress(repl.ReplaceAll(u.Dial, ""))
	if err != nil {
		return reverseproxy.DialInfo{}, fmt.Errorf("upstream %s: invalid dial address: %w", u.Dial, err)
	}
	return reverseproxy.DialInfo{
		Upstream: u, Network: addr.Network, Address: addr.JoinHostPort(0),
		Host: addr.Host, Port: fmt.Sprint(addr.StartPort),
	}, nil
}

// The transport's other faces. A transport without one behaves as if its answer were
// the zero value, which is what Caddy's proxy takes its absence for.

// DefaultBufferSizes implements reverseproxy.BufferedTransport.
func (c *carrier) DefaultBufferSizes() (int64, int64) {
	if t, ok := c.inner.(reverseproxy.BufferedTransport); ok {
		return t.DefaultBufferSizes()
	}
	return 0, 0
}

// RequiresContentLength implements reverseproxy.ContentLengthRequiredTransport.
func (c *carrier) RequiresContentLength() bool {
	t, ok := c.inner.(reverseproxy.ContentLengthRequiredTransport)
	return ok && t.RequiresContentLength()
}

// RequestHeaderOps implements reverseproxy.RequestHeaderOpsTransport.
func (c *carrier) RequestHeaderOps() *headers.HeaderOps { return c.ops }

// ProxyProtocolEnabled implements reverseproxy.ProxyProtocolTransport.
func (c *carrier) ProxyProtocolEnabled() bool {
	t, ok := c.inner.(reverseproxy.ProxyProtocolTransport)
	return ok && t.ProxyProtocolEnabled()
}

// OverrideHealthCheckScheme implements reverseproxy.HealthCheckSchemeOverriderTransport.
func (c *carrier) OverrideHealthCheckScheme(base *url.URL, port string) {
	if t, ok := c.inner.(reverseproxy.HealthCheckSchemeOverriderTransport); ok {
		t.OverrideHealthCheckScheme(base, port)
	}
}

// Interface guards
var (
	_ reverseproxy.BufferedTransport                   = (*carrier)(nil)
	_ reverseproxy.ContentLengthRequiredTransport      = (*carrier)(nil)
	_ reverseproxy.RequestHeaderOpsTransport           = (*carrier)(nil)
	_ reverseproxy.ProxyProtocolTransport              = (*carrier)(nil)
	_ reverseproxy.HealthCheckSchemeOverriderTransport = (*carrier)(nil)
)
