package analytics

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// resource is one thing the API serves, alike on a site, below /api/, and on the admin
// API, below /analytics/.
type resource struct {
	// path is what stands after /api/. A segment in braces takes any name.
	path   string
	about  string
	params []param
	serve  func(c *call) error
	// form says that POST with a form in its body asks the same as GET.
	form bool
	// lenient says that parameters which are not known are passed over, as Prometheus does.
	lenient bool
	// answer is of the type that is sent; nil where another program defines the format.
	answer any
}

// param is a parameter of a resource.
type param struct {
	name  string
	about string
}

// call is one request for a resource.
type call struct {
	w     http.ResponseWriter
	r     *http.Request
	names map[string]string // of the path
	form  url.Values
	// ending is closed when the server begins to shut down; nil where nobody tells.
	ending <-chan struct{}
}

// resources is filled by init, as the list of them is itself one of them.
var resources []*resource

func init() {
	resources = slices.Concat(
		[]*resource{{
			path: "", about: "What there is.", serve: serveIndex, answer: indexAnswer{},
		}},
		statsResources(), analyticsResources(), relayedResources(), promResources(),
	)
}

// indexAnswer lists the resources.
type indexAnswer struct {
	Resources []indexEntry `json:"resources"`
}

type indexEntry struct {
	// Where the resource is on a site; on the admin API /analytics stands before it.
	Path  string `json:"path"`
	About string `json:"about"`
}

func serveIndex(c *call) error {
	var list indexAnswer
	for _, res := range resources {
		list.Resources = append(list.Resources, indexEntry{"/api/" + res.path, res.about})
	}
	return c.writeJSON(list)
}

// serveAPI answers a request; path is what stands after /api/. Errors are answered too.
// Streams end when ending is closed.
func serveAPI(w http.ResponseWriter, r *http.Request, path string, logger *zap.Logger, ending <-chan struct{}) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	defer func() {
		// What fails here must not take the server's connection down with it.
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			panic(p)
		default:
			logger.Error("panic in the API", zap.Any("panic", p), zap.String("path", r.URL.Path), zap.ByteString("stack", debug.Stack()))
			writeError(w, path, apiErrorf(http.StatusInternalServerError, "something went wrong inside; Caddy's log tells what"))
		}
	}()
	if err := dispatch(w, r, path, ending); err != nil {
		if status := statusOf(err); status >= 500 {
			if c := logger.Check(zap.DebugLevel, "request failed"); c != nil {
				c.Write(zap.String("path", r.URL.Path), zap.Int("status", status), zap.Error(err))
			}
		}
		writeError(w, path, err)
	}
}

func dispatch(w http.ResponseWriter, r *http.Request, path string, ending <-chan struct{}) error {
	res, names, err := findResource(path)
	if err != nil {
		return err
	}
	allowed := []string{http.MethodGet, http.MethodHead}
	if res.form {
		allowed = append(allowed, http.MethodPost)
	}
	if !slices.Contains(allowed, r.Method) {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return apiErrorf(http.StatusMethodNotAllowed, "method %.20q is not allowed here: use %s", r.Method, strings.Join(slices.DeleteFunc(allowed, func(m string) bool { return m == http.MethodHead }), " or "))
	}
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	if !res.lenient {
		if err := res.know(form); err != nil {
			return err
		}
	}
	apiRequests.WithLabelValues("/api/" + res.path).Inc()
	return res.serve(&call{w: w, r: r, names: names, form: form, ending: ending})
}

// findResource finds the resource of an escaped path.
func findResource(path string) (*resource, map[string]string, error) {
	segments := strings.Split(strings.Trim(path, "/"), "/")
	for i, s := range segments {
		name, err := url.PathUnescape(s)
		if err != nil {
			return nil, nil, apiErrorf(http.StatusBadRequest, "the path is not escaped properly: %w", err)
		}
		segments[i] = name
	}
	for _, res := range resources {
		if names, ok := res.match(segments); ok {
			return res, names, nil
		}
	}
	var known []string
	for _, res := range resources {
		known = append(known, "/api/"+res.path)
	}
	return nil, nil, apiErrorf(http.StatusNotFound, "no such resource; there are %s", strings.Join(known, ", "))
}

func (res *resource) match(segments []string) (map[string]string, bool) {
	pattern := strings.Split(res.path, "/")
	if len(pattern) != len(segments) {
		return nil, false
	}
	names := make(map[string]string)
	for i, p := range pattern {
		switch {
		case strings.HasPrefix(p, "{") && segments[i] != "":
			names[strings.Trim(p, "{}")] = segments[i]
		case p != segments[i]:
			return nil, false
		}
	}
	return names, true
}

// know refuses parameters that the resource does not have: a misspelt one would
// otherwise answer another question.
func (res *resource) know(form url.Values) error {
	for name := range form {
		if slices.ContainsFunc(res.params, func(p param) bool { return p.name == name }) {
			continue
		}
		if len(res.params) == 0 {
			return apiErrorf(http.StatusBadRequest, "no parameter %.40q: this resource has none", name)
		}
		known := make([]string, len(res.params))
		for i, p := range res.params {
			known[i] = p.name
		}
		return apiErrorf(http.StatusBadRequest, "no parameter %.40q: there are %s", name, strings.Join(known, ", "))
	}
	return nil
}

// writeJSON sends an answer.
func (c *call) writeJSON(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return apiErrorf(http.StatusInternalServerError, "encoding the answer: %w", err)
	}
	c.w.Header().Set("Content-Type", "application/json")
	// A client that does not read its answer is no error of ours.
	_, _ = c.w.Write(append(body, '\n'))
	return nil
}

// apiErrorf returns an error with its HTTP status.
func apiErrorf(status int, format string, args ...any) error {
	return caddy.APIError{HTTPStatus: status, Err: fmt.Errorf(format, args...)}
}

// statusOf returns the HTTP status of an error.
func statusOf(err error) int {
	var prom *promError
	var api caddy.APIError
	switch {
	case errors.As(err, &prom):
		return prom.status
	case errors.As(err, &api) && api.HTTPStatus >= 400:
		return api.HTTPStatus
	}
	return http.StatusInternalServerError
}

// writeError answers with an error, in Prometheus' format where its clients ask.
func writeError(w http.ResponseWriter, path string, err error) {
	countRefusal(err)
	status := statusOf(err)
	text := err.Error()
	var api caddy.APIError
	if errors.As(err, &api) && api.Err != nil {
		text = api.Err.Error()
	}
	var body any = struct {
		Error string `json:"error"`
	}{text}
	if strings.HasPrefix(strings.Trim(path, "/")+"/", promPrefix) {
		body = promErrorBody(err, status, text)
	}
	out, marshalErr := json.Marshal(body)
	if marshalErr != nil {
		out = []byte(`{"error":"the error cannot be encoded"}`)
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(out, '\n'))
}
