package flowmaster

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// WrapDial returns a dial function that measures the connections that next makes, and how
// long it takes to make them, as those of a pool. A proxy's transport uses it for plain
// connections and below TLS; it must not be put around one that returns TLS connections.
func (a *App) WrapDial(pool string, next dialFunc) dialFunc {
	p := a.state.process
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		backend := address
		if di, ok := reverseproxy.GetDialInfo(ctx); ok {
			backend = di.Address
			if di.Upstream != nil {
				backend = di.Upstream.String()
			}
		}
		e := p.endpoints.acquire(endpointKey{leg: flow.LegUpstream, pool: pool, backend: backend})
		began := time.Now()
		conn, err := next(ctx, network, address)
		if err != nil {
			if !errors.Is(err, context.Canceled) { // otherwise nobody waits for it any more
				e.connectFailures.Add(1)
				if e.path != nil {
					e.path.connected(false)
				}
			}
			p.endpoints.release(e)
			return nil, err
		}
		e.connect.Observe(time.Since(began).Seconds())
		if e.path != nil {
			e.path.connected(true)
		}
		return p.watch(conn, e), nil
	}
}
