package flowmaster

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

func init() {
	caddy.RegisterModule(new(ListenerWrapper))
}

// ListenerWrapper measures the connections of clients: octets, round-trip times,
// retransmissions. It has to stand before `tls`, because what serves HTTP/2 looks for TLS
// connections as they are. Behind `proxy_protocol` flows are those of the clients that its
// header names; before it, those of the balancer that sends the header. HTTP/3 is not
// measured: it runs over UDP.
type ListenerWrapper struct {
	// What the connections are called in metrics and flows. Default: the name of the
	// HTTP server that listens, as in Caddy's own metrics.
	Server string `json:"server,omitempty"`

	ctx    caddy.Context
	logger *zap.Logger
	app    *App
	once   sync.Once
}

// CaddyModule returns the Caddy module information.
func (*ListenerWrapper) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.flowmaster", New: func() caddy.Module { return new(ListenerWrapper) }}
}

// Provision implements caddy.Provisioner.
func (w *ListenerWrapper) Provision(ctx caddy.Context) error {
	w.ctx, w.logger = ctx, ctx.Logger()
	app, err := ctx.AppIfConfigured("flowmaster")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return fmt.Errorf("the flowmaster app is not configured: add the global option `flowmaster`: %w", err)
	}
	if err != nil {
		return fmt.Errorf("getting flowmaster app: %w", err)
	}
	w.app = app.(*App)
	return nil
}

// UnmarshalCaddyfile sets up the wrapper, in `servers`:
//
//	listener_wrappers {
//	    flowmaster [<name of the server>]
//	    tls
//	}
func (w *ListenerWrapper) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the wrapper's name
	if d.NextArg() {
		w.Server = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	if d.NextBlock(0) {
		return d.Errf("flowmaster takes no block here: its options stand in the global option `flowmaster`")
	}
	return nil
}

// WrapListener implements caddy.ListenerWrapper.
func (w *ListenerWrapper) WrapListener(ln net.Listener) net.Listener {
	name := w.Server
	if name == "" {
		name = w.serverOf(ln.Addr())
	}
	return &measuredListener{ln, w, endpointKey{leg: flow.LegDownstream, server: name}}
}

// serverOf returns the name of the HTTP server that listens on the address, or the address
// where that is not known.
func (w *ListenerWrapper) serverOf(addr net.Addr) string {
	app, err := w.ctx.AppIfConfigured("http")
	if err != nil {
		return addr.String()
	}
	http, ok := app.(*caddyhttp.App)
	tcp, ok2 := addr.(*net.TCPAddr)
	if !ok || !ok2 {
		return addr.String()
	}
	var onPort []string
	for name, srv := range http.Servers {
		for _, listen := range srv.Listen {
			na, err := caddy.ParseNetworkAddress(listen)
			if err != nil || uint(tcp.Port) < na.StartPort || uint(tcp.Port) > na.EndPort {
				continue
			}
			if ip := net.ParseIP(na.Host); ip != nil && ip.Equal(tcp.IP) {
				return name
			}
			onPort = append(onPort, name)
		}
	}
	if len(onPort) == 1 {
		return onPort[0]
	}
	return addr.String()
}

type measuredListener struct {
	net.Listener
	wrapper *ListenerWrapper
	key     endpointKey
}

// Accept implements net.Listener.
func (l *measuredListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	p := l.wrapper.app.state.process
	if _, ok := conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
		// What serves HTTP/2 looks for this very type.
		p.unmeasured.Add(1)
		l.wrapper.once.Do(func() {
			l.wrapper.logger.Warn("connections of clients are not measured: put flowmaster before tls in listener_wrappers",
				zap.Stringer("address", l.Addr()))
		})
		return conn, nil
	}
	return p.watch(conn, p.endpoints.acquire(l.key)), nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*ListenerWrapper)(nil)
	_ caddy.ListenerWrapper = (*ListenerWrapper)(nil)
	_ caddyfile.Unmarshaler = (*ListenerWrapper)(nil)
)
