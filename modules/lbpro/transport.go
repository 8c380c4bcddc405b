package lbpro

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

func init() {
	caddy.RegisterModule(Transport{})
}

// Transport is Caddy's HTTP transport, which in stock `reverse_proxy` also tells the
// `lbpro.*` selection policies what became of the requests that they placed, and lets the
// flowmaster app measure connections. In `lbpro` it is not needed, and the same as
// `transport http`.
type Transport struct {
	reverseproxy.HTTPTransport
}

// CaddyModule returns the Caddy module information.
func (Transport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.transport.lbpro", New: func() caddy.Module { return new(Transport) }}
}

// UnmarshalCaddyfile sets up the transport, with the options of `transport http`:
//
//	transport lbpro {
//	    <options of transport http...>
//	}
func (t *Transport) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return t.HTTPTransport.UnmarshalCaddyfile(d)
}

// Provision implements caddy.Provisioner.
func (t *Transport) Provision(ctx caddy.Context) error {
	if err := t.HTTPTransport.Provision(ctx); err != nil {
		return fmt.Errorf("provisioning HTTP transport: %w", err)
	}
	return t.watch(ctx)
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	a, req := beginPlaced(req)
	if a == nil {
		return t.HTTPTransport.RoundTrip(req) // an active health check, or another policy
	}
	res, err := t.HTTPTransport.RoundTrip(req)
	now := clock()
	if err != nil {
		o := outcomeOfError(err, req.Context(), req.Context())
		if o.Failed() {
			a.Backend().Failed(err.Error(), now)
		}
		a.end(now, o, 0)
		if o == balance.Canceled {
			a.Backend().Totals.Canceled.Add(1)
		}
		return nil, err
	}
	account(&a.Attempt, res, outcomeOfStatus(res), now)
	if conn, ok := res.Body.(io.ReadWriteCloser); ok && res.StatusCode == http.StatusSwitchingProtocols {
		t := &a.Backend().Totals
		res.Body = &placedConn{upgradedBody{conn, &t.Received, &t.Sent}, a}
		return res, nil
	}
	if res.Body == nil || res.Body == http.NoBody {
		a.end(now, balance.Canceled, 0)
		observersOf(a.Backend()).total(now - a.Start())
		return res, nil
	}
	res.Body = &attemptBody{responseBody: responseBody{ReadCloser: res.Body, from: now}, attempt: a, client: req.Context()}
	return res, nil
}

// placedConn ends the attempt with the connection behind a 101 answer: it is in flight
// as long as that is open.
type placedConn struct {
	upgradedBody
	attempt *placed
}

// Close ends the attempt.
func (c *placedConn) Close() error {
	c.attempt.end(clock(), balance.Canceled, 0)
	return c.upgradedBody.Close()
}

// attemptBody ends the attempt with the answer.
type attemptBody struct {
	responseBody
	attempt *placed
	client  context.Context
}

// Close ends the attempt. Caddy's proxy always closes what it reads.
func (b *attemptBody) Close() error {
	now, o, rest := clock(), balance.Canceled, b.rest()
	if b.err != nil {
		o = balance.TransportFailure
	}
	if b.client.Err() != nil {
		rest = -1
	}
	if !b.attempt.end(now, o, rest) {
		return b.ReadCloser.Close()
	}
	t := b.attempt.Backend()
	t.Totals.Received.Add(b.n)
	switch {
	case b.client.Err() != nil:
		t.Totals.Canceled.Add(1)
	case b.err == nil:
		observersOf(t).total(now - b.attempt.Start())
	}
	return b.ReadCloser.Close()
}

// Interface guards
var (
	_ caddy.Provisioner                                = (*Transport)(nil)
	_ caddy.CleanerUpper                               = (*Transport)(nil)
	_ caddyfile.Unmarshaler                            = (*Transport)(nil)
	_ http.RoundTripper                                = (*Transport)(nil)
	_ reverseproxy.TLSTransport                        = (*Transport)(nil)
	_ reverseproxy.H2CTransport                        = (*Transport)(nil)
	_ reverseproxy.HealthCheckSchemeOverriderTransport = (*Transport)(nil)
	_ reverseproxy.ProxyProtocolTransport              = (*Transport)(nil)
	_ reverseproxy.RequestHeaderOpsTransport           = (*Transport)(nil)
)
