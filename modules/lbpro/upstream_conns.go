package lbpro

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// An upstreamWatcher measures the connections to backends. An app that implements it
// (flowmaster does) is handed the dial function of every pool; without one, connections
// are made as ever.
type upstreamWatcher interface {
	// WrapDial returns a dial function that does what next does, for a pool.
	WrapDial(pool string, next func(ctx context.Context, network, addr string) (net.Conn, error)) func(ctx context.Context, network, addr string) (net.Conn, error)
}

// watcherApps are the apps that may implement upstreamWatcher.
var watcherApps = []string{"flowmaster"}

// watchUpstreams has the connections of Caddy's HTTP transport measured, if there is an
// app for it. Where Caddy makes TLS connections by itself (a placeholder in
// tls_server_name, the PROXY protocol to TLS backends) it does not dial this way, and
// HTTP/3 has no connections of this kind.
func watchUpstreams(ctx caddy.Context, pool string, transport http.RoundTripper) error {
	var inner *http.Transport
	switch t := transport.(type) {
	case *reverseproxy.HTTPTransport:
		inner = t.Transport
	case *Transport:
		inner = t.Transport
	}
	if inner == nil || inner.DialContext == nil {
		return nil
	}
	for _, name := range watcherApps {
		app, err := ctx.AppIfConfigured(name)
		if errors.Is(err, caddy.ErrNotConfigured) {
			continue
		}
		if err != nil {
			return fmt.Errorf("getting %s app: %w", name, err)
		}
		if w, ok := app.(upstreamWatcher); ok {
			inner.DialContext = w.WrapDial(pool, inner.DialContext)
		}
	}
	return nil
}

// watch has the connections of a stock `reverse_proxy` measured. In `lbpro` the handler
// does it, which knows the pool.
func (t *Transport) watch(ctx caddy.Context) error {
	p := parentOf(ctx)
	if p.lbpro != nil {
		return nil
	}
	pool := "dynamic"
	if p.proxy != nil && len(p.proxy.Upstreams) > 0 {
		pool = p.proxy.Upstreams[0].Dial
	}
	return watchUpstreams(ctx, pool, t)
}

// BackendState tells what the balancer thinks of a backend of a pool: "available",
// "ejected", "draining", or "" when there is no such backend. Whoever measures
// connections writes it beside what it measures.
func (a *App) BackendState(pool, backend string) string {
	a.mu.Lock()
	u := a.pools[pool]
	a.mu.Unlock()
	if u == nil {
		return ""
	}
	b := u.pool.Get(backend)
	if b == nil {
		return ""
	}
	switch b.State() {
	case balance.Draining:
		return "draining"
	case balance.Ejected, balance.HalfOpen:
		return "ejected"
	}
	return "available"
}
