package analytics

import (
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(new(SiteAPI))
	httpcaddyfile.RegisterHandlerDirective("analytics_api", parseSiteAPI)
	// After what authenticates, before what answers to everything.
	httpcaddyfile.RegisterDirectiveOrder("analytics_api", httpcaddyfile.Before, "respond")
}

// SiteAPI serves the API of the Analytics Engine below /api/ of a site: /api/stats,
// /api/analytics/…, /api/lbpro/…, /api/flows/…, and under /api/v1/ what Grafana's data
// source for Prometheus and `promtool query` ask for. Requests for other paths go on to
// the next handler. It only reads: nothing can be changed through it.
//
// Without options it answers clients with private and loopback addresses only.
type SiteAPI struct {
	access
	logger *zap.Logger
	ending chan struct{}
}

// CaddyModule returns the Caddy module information.
func (*SiteAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.analytics_api", New: func() caddy.Module { return new(SiteAPI) }}
}

// Provision implements caddy.Provisioner.
func (s *SiteAPI) Provision(ctx caddy.Context) error {
	s.logger = ctx.Logger()
	if err := s.access.provision(); err != nil {
		return fmt.Errorf("analytics_api: %w", err)
	}
	// Open streams would keep the server from shutting down, and a reload from coming to its end.
	s.ending = make(chan struct{})
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		server.RegisterOnShutdown(sync.OnceFunc(func() { close(s.ending) }))
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (s *SiteAPI) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	path, ours := strings.CutPrefix(r.URL.EscapedPath(), "/api")
	if !ours || path != "" && path[0] != '/' {
		return next.ServeHTTP(w, r)
	}
	path = strings.Trim(path, "/")
	if err := s.access.admit(r); err != nil {
		if c := s.logger.Check(zap.DebugLevel, "request turned away"); c != nil {
			c.Write(zap.String("remote", r.RemoteAddr), zap.String("host", r.Host), zap.Error(err))
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		writeError(w, path, err)
		return nil
	}
	serveAPI(w, r, path, s.logger, s.ending)
	return nil
}

func parseSiteAPI(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	s := new(SiteAPI)
	if err := s.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return s, nil
}

// UnmarshalCaddyfile sets up the handler:
//
//	analytics_api [<matcher>] {
//	    allow private_ranges|<cidr...>
//	    authenticated [elsewhere]
//	    insecure_public
//	    hosts <host...>
//	}
//
// `allow`, `authenticated` and `insecure_public` exclude one another; without any of them
// it is `allow private_ranges`.
func (s *SiteAPI) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.ArgErr()
	}
	return s.access.unmarshal(d)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*SiteAPI)(nil)
	_ caddyfile.Unmarshaler       = (*SiteAPI)(nil)
	_ caddyhttp.MiddlewareHandler = (*SiteAPI)(nil)
)
