package analytics

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(new(adminAPI))
}

// adminAPI is the part of Caddy's admin API below /analytics/. It has the resources that
// the site handler `analytics_api` has below /api/; /analytics/status is the same as
// /analytics/api/analytics/status. So PromQL clients take http://localhost:2019/analytics as
// their server. All of it is for reading.
type adminAPI struct{ logger *zap.Logger }

// CaddyModule returns the Caddy module information.
func (*adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.analytics", New: func() caddy.Module { return new(adminAPI) }}
}

// Provision implements caddy.Provisioner.
func (a *adminAPI) Provision(ctx caddy.Context) error {
	a.logger = ctx.Logger(a)
	return nil
}

// Routes implements caddy.AdminRouter.
func (a *adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/analytics/", Handler: caddy.AdminHandlerFunc(a.serve)}}
}

func (a *adminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	serveAPI(w, r, adminPath(r.URL.EscapedPath()), a.logger, nil)
	return nil
}

// adminPath turns a path of the admin API into what stands after /api/ on a site.
func adminPath(path string) string {
	rest := strings.Trim(strings.TrimPrefix(path, "/analytics"), "/")
	if rest == "api" {
		return ""
	}
	if whole, ok := strings.CutPrefix(rest, "api/"); ok {
		return whole
	}
	first, _, _ := strings.Cut(rest, "/")
	if slices.ContainsFunc(resources, func(res *resource) bool {
		head, tail, _ := strings.Cut(res.path, "/")
		name, _, _ := strings.Cut(tail, "/")
		return head == "analytics" && name == first
	}) && first != "" {
		return "analytics/" + rest
	}
	return rest
}

// Interface guards
var (
	_ caddy.AdminRouter = (*adminAPI)(nil)
	_ caddy.Provisioner = (*adminAPI)(nil)
)
