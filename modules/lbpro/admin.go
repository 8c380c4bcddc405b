package lbpro

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

func init() {
	caddy.RegisterModule(new(adminAPI))
}

// adminAPI is the part of Caddy's admin API below /lbpro/:
//
//	GET  /lbpro/pools
//	GET  /lbpro/pools/{pool}
//	GET  /lbpro/pools/{pool}/backends
//	GET  /lbpro/pools/{pool}/backends/{id}
//	POST /lbpro/pools/{pool}/backends/{id}/drain    {"deadline_seconds": 300, "reason": "deploy"}
//	POST /lbpro/pools/{pool}/backends/{id}/undrain
//	POST /lbpro/pools/{pool}/backends/{id}/weight   {"weight": 0.5} or {"clear": true}
//	POST /lbpro/pools/{pool}/backends/{id}/eject    {"duration_seconds": 60, "reason": "…", "force": true}
//	POST /lbpro/pools/{pool}/backends/{id}/restore
//
// Names with a slash are escaped as %2F. Pools belong to the process and not to a
// configuration, so no request can meet one that a reload has left behind.
type adminAPI struct{ logger *zap.Logger }

// CaddyModule returns the Caddy module information.
func (*adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.lbpro", New: func() caddy.Module { return new(adminAPI) }}
}

// Provision implements caddy.Provisioner.
func (a *adminAPI) Provision(ctx caddy.Context) error {
	a.logger = ctx.Logger(a)
	return nil
}

// Routes implements caddy.AdminRouter.
func (a *adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/lbpro/", Handler: caddy.AdminHandlerFunc(a.serve)}}
}

func (a *adminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	path, err := segments(r.URL)
	if err != nil {
		return err
	}
	if len(path) == 6 && path[1] == "pools" && path[3] == "backends" {
		return a.act(w, r, path[2], path[4], path[5])
	}
	return serveResource(w, r, path)
}

// ServeAPI answers the GET requests of the admin API, below /lbpro/, for whoever wants to
// show them elsewhere. Errors are of type caddy.APIError.
func (a *App) ServeAPI(w http.ResponseWriter, r *http.Request) error {
	path, err := segments(r.URL)
	if err != nil {
		return err
	}
	return serveResource(w, r, path)
}

// segments splits the path into its unescaped segments; a trailing slash adds none.
func segments(u *url.URL) ([]string, error) {
	parts := strings.Split(strings.Trim(u.EscapedPath(), "/"), "/")
	for i, p := range parts {
		s, err := url.PathUnescape(p)
		if err != nil {
			return nil, apiError(http.StatusBadRequest, "the path is not escaped properly: %v", err)
		}
		parts[i] = s
	}
	return parts, nil
}

// serveResource answers GET.
func serveResource(w http.ResponseWriter, r *http.Request, path []string) error {
	if len(path) < 2 || len(path) > 5 || path[0] != "lbpro" || path[1] != "pools" || len(path) > 3 && path[3] != "backends" {
		return apiError(http.StatusNotFound, "no such resource: there are /lbpro/pools, /lbpro/pools/{pool} and /lbpro/pools/{pool}/backends/{id}")
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return wrongMethod(w, r, http.MethodGet, http.MethodHead)
	}
	now := clock()
	if len(path) == 2 {
		list := struct {
			Pools []poolResource `json:"pools"`
		}{Pools: []poolResource{}}
		for _, p := range allPools() {
			f := p.figures(now)
			list.Pools = append(list.Pools, newPoolResource(&f))
		}
		return writeJSON(w, list)
	}
	p, err := findPool(path[2])
	if err != nil {
		return err
	}
	f := p.figures(now)
	pool := newPoolResource(&f)
	switch len(path) {
	case 3:
		return writeJSON(w, pool)
	case 4:
		return writeJSON(w, struct {
			Backends []backendResource `json:"backends"`
		}{pool.Backends})
	}
	for _, b := range pool.Backends {
		if b.ID == path[4] {
			return writeJSON(w, b)
		}
	}
	return noBackend(p, path[4])
}

// act carries out an operator's action on a backend and answers with what became of it.
func (a *adminAPI) act(w http.ResponseWriter, r *http.Request, pool, id, name string) error {
	action := actions[name]
	if action == nil {
		return apiError(http.StatusNotFound, "no action %q: there are drain, undrain, weight, eject and restore", name)
	}
	if r.Method != http.MethodPost {
		return wrongMethod(w, r, http.MethodPost)
	}
	p, err := findPool(pool)
	if err != nil {
		return err
	}
	b := p.Get(id)
	if b == nil {
		return noBackend(p, id)
	}
	message, err := action(b, &actionBody{w: w, r: r}, clock())
	if err != nil {
		return err
	}
	a.logger.Info("operator's action", zap.String("pool", pool), zap.String("backend", id), zap.String("action", name), zap.String("result", message))
	f := p.figures(clock())
	answer := struct {
		Message string           `json:"message"`
		Backend *backendResource `json:"backend,omitempty"`
	}{Message: message}
	full := newPoolResource(&f)
	for i := range full.Backends {
		if full.Backends[i].ID == id {
			answer.Backend = &full.Backends[i]
		}
	}
	return writeJSON(w, answer)
}

func writeJSON(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return apiError(http.StatusInternalServerError, "encoding the answer: %v", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	// A client that does not read its answer is no error of ours.
	_, _ = w.Write(append(body, '\n'))
	return nil
}

func findPool(name string) (*sharedPool, error) {
	all := allPools()
	names := make([]string, len(all))
	for i, p := range all {
		if p.Name == name {
			return p, nil
		}
		names[i] = p.Name
	}
	return nil, apiError(http.StatusNotFound, "no pool %q: %s", name, choices("pool", names))
}

func noBackend(p *sharedPool, id string) error {
	all := p.Backends()
	names := make([]string, len(all))
	for i, b := range all {
		names[i] = b.ID
	}
	return apiError(http.StatusNotFound, "no backend %q in pool %q: %s", id, p.Name, choices("backend", names))
}

// choices lists what exists, at most a few dozen.
func choices(what string, names []string) string {
	const most = 50
	switch n := len(names); {
	case n == 0:
		return "there is no " + what
	case n == 1:
		return "the only " + what + " is " + strconv.Quote(names[0])
	case n > most:
		return fmt.Sprintf("the first of %d %ss are %s", n, what, quoted(names[:most]))
	}
	return "the " + what + "s are " + quoted(names)
}

func quoted(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = strconv.Quote(n)
	}
	return strings.Join(q, ", ")
}

func wrongMethod(w http.ResponseWriter, r *http.Request, allowed ...string) error {
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return apiError(http.StatusMethodNotAllowed, "method %s is not allowed here: use %s", r.Method, allowed[0])
}

func apiError(code int, format string, args ...any) error {
	return caddy.APIError{HTTPStatus: code, Err: fmt.Errorf(format, args...)}
}

// operatorError gives the error of an action its status.
func operatorError(err error) error {
	switch {
	case errors.Is(err, balance.ErrLast):
		return apiError(http.StatusConflict, `%w: send "force": true to eject it anyway`, err)
	case errors.Is(err, balance.ErrDraining):
		return apiError(http.StatusConflict, "%w", err)
	case errors.Is(err, balance.ErrWeight):
		return apiError(http.StatusBadRequest, "%w", err)
	}
	return err
}

// Interface guards
var (
	_ caddy.AdminRouter = (*adminAPI)(nil)
	_ caddy.Provisioner = (*adminAPI)(nil)
)
