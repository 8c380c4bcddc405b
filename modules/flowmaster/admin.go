package flowmaster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

func init() {
	caddy.RegisterModule(new(adminAPI))
}

// adminAPI is the part of Caddy's admin API below /flowmaster/. All of it is GET:
//
//	/flowmaster/status       what is on, what is held, and what was turned away
//	/flowmaster/summary      totals, clients and loss: ?window=1m|10m|1h&buckets=true
//	/flowmaster/top          ?by=client_prefix|client_as|client_country|backend|service_port|exporter
//	                         &window=1m|10m|1h&limit=20
//	/flowmaster/connections  active flows and open connections: ?leg=&source=&pool=&backend=&server=&exporter=&prefix=&port=&limit=100
//	/flowmaster/exporters    devices that send flows: ?address=&limit=
//	/flowmaster/path         how packets fare toward each backend: ?backend=
//	/flowmaster/host         counters of the kernel
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (*adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.flowmaster", New: func() caddy.Module { return new(adminAPI) }}
}

// Routes implements caddy.AdminRouter.
func (a *adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/flowmaster/", Handler: caddy.AdminHandlerFunc(a.serve)}}
}

// serve finds the app anew for each request: the admin API can outlive a configuration,
// or come before one that fails.
func (a *adminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	app, err := caddy.ActiveContext().AppIfConfigured("flowmaster")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return apiError(http.StatusNotFound, "flowmaster is not configured: add the global option flowmaster")
	}
	if err != nil {
		return apiError(http.StatusInternalServerError, "finding the app flowmaster: %w", err)
	}
	return app.(*App).ServeAPI(w, r)
}

// resource answers one request for a resource with what is to be encoded.
type resource func(*App, *query) (any, error)

var resources = map[string]resource{
	"status":      (*App).statusResource,
	"summary":     (*App).summaryResource,
	"top":         (*App).topResource,
	"connections": (*App).connectionsResource,
	"exporters":   (*App).exportersResource,
	"path":        (*App).pathResource,
	"host":        (*App).hostResource,
}

func resourceNames() string {
	var names []string
	for name := range resources {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// ServeAPI answers the GET requests of the admin API, below /flowmaster/, for whoever
// wants to show them elsewhere. Errors are of type caddy.APIError.
func (a *App) ServeAPI(w http.ResponseWriter, r *http.Request) error {
	name, ok := strings.CutPrefix(strings.TrimSuffix(r.URL.Path, "/"), "/flowmaster/")
	serve := resources[name]
	if !ok || serve == nil {
		return apiError(http.StatusNotFound, "no such resource: below /flowmaster/ there are %s", resourceNames())
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return apiError(http.StatusMethodNotAllowed, "method %s is not allowed here: use GET", r.Method)
	}
	q, err := readQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	v, err := serve(a, q)
	if err == nil {
		err = q.unknown()
	}
	if err != nil {
		return err
	}
	body, err := json.Marshal(v)
	if err != nil {
		return apiError(http.StatusInternalServerError, "encoding the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	// A client that does not read its answer is no error of ours.
	_, _ = w.Write(append(body, '\n'))
	return nil
}

func apiError(code int, format string, args ...any) error {
	return caddy.APIError{HTTPStatus: code, Err: fmt.Errorf(format, args...)}
}

// Interface guards
var _ caddy.AdminRouter = (*adminAPI)(nil)
