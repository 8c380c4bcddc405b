package lbpro

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// placement is one request's way through a policy in stock reverse_proxy.
type placement struct {
	by     *stock
	choice balance.Choice
	asked  balance.Choice // scratch
	// next is where the attempt that follows goes; nil when nobody is told of it.
	next *balance.Backend
}

// placementVar is the request variable in which a policy leaves its placement for
// Transport.
const placementVar = "lbpro.placement"

// placement returns that of the request, which an earlier attempt may have left.
func (s *stock) placement(r *http.Request) *placement {
	if p, ok := caddyhttp.GetVar(r.Context(), placementVar).(*placement); ok && p.by == s {
		return p
	}
	p := &placement{by: s}
	p.choice.Idempotent = idempotent(r)
	caddyhttp.SetVar(r.Context(), placementVar, p)
	return p
}

// placed is an attempt in stock reverse_proxy.
type placed struct {
	balance.Attempt
	ended atomic.Bool
}

// beginPlaced reserves the backend that a policy has chosen for the request, and returns
// nil when none of ours has. Only the round trip reserves: Caddy's proxy may still turn a
// request away between the choice and it, and then nobody would give the place back.
// The request that it returns is the one to send.
func beginPlaced(req *http.Request) (*placed, *http.Request) {
	p, _ := caddyhttp.GetVar(req.Context(), placementVar).(*placement)
	if p == nil || p.next == nil {
		return nil, req
	}
	a := new(placed)
	if hasBody(req) {
		a.MarkSending()
		req = req.WithContext(req.Context()) // a copy: the caller's stays as it is
		req.Body = &sentBody{req.Body, &a.Attempt}
	}
	a.Route = balance.KeyOf(req.Method, req.URL.Path, req.URL.RawQuery)
	p.next.Pool().Enter()
	p.next.Begin(&a.Attempt, clock())
	p.next = nil
	return a, req
}

// sentBody tells the attempt when all of the body was read.
type sentBody struct {
	io.ReadCloser
	attempt *balance.Attempt
}

func (b *sentBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.attempt.Sent(clock())
	}
	return n, err
}

// end gives the place back and reports whether it had not been given back before. rest is
// as in [balance.Attempt.Delivered].
func (a *placed) end(now time.Duration, o balance.Outcome, rest time.Duration) bool {
	if a.ended.Swap(true) {
		return false
	}
	a.Delivered(now, rest)
	a.End(now, o)
	a.Backend().Pool().Exit()
	return true
}
