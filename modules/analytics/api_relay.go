package analytics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/caddyserver/caddy/v2"
)

// apiServer is met by the apps of the balancer and the network: they answer GET below
// their own names as they do on the admin API. Errors are of type caddy.APIError.
type apiServer interface {
	ServeAPI(w http.ResponseWriter, r *http.Request) error
}

// relayed tells whose resources are shown, and what to switch on when they are not there.
type relayed struct {
	app, prefix string // of the app's own API
	missing     string
}

var (
	balancer = relayed{"lbpro", "/lbpro/", "the balancer is not in the configuration: use the handler `lbpro` in a site"}
	network  = relayed{"flowmaster", "/flowmaster/", "flows are not watched: add `flowmaster` to the global options of the Caddyfile"}
)

// relayedResources are those of the other apps.
func relayedResources() []*resource {
	list := []*resource{
		{path: "lbpro/pools", serve: balancer.serve("pools"), about: "The balancer's pools and their backends: state, reason, since, figures, as on the admin API below /lbpro/."},
		{path: "lbpro/pools/{pool}", serve: balancer.serve("pools", "{pool}"), about: "One pool."},
	}
	span := param{"window", "`1m`, `10m` or `1h`."}
	limit := param{"limit", "At most so many."}
	for _, r := range []*resource{
		{path: "status", about: "What is watched, what is held, and what was turned away."},
		{path: "summary", about: "What flows there are: totals, clients and loss.", params: []param{span, {"buckets", "`true`: also how it went within the window."}}},
		{path: "top", about: "The largest talkers.", params: []param{
			{"by", "`client_prefix`, `client_as`, `client_country`, `backend`, `service_port` or `exporter`."}, span, limit,
		}},
		{path: "connections", about: "The health of TCP connections on both sides of the proxy.", params: []param{
			{"leg, source, pool, backend, server, exporter, prefix, port", "Those of which it is this."}, limit,
		}},
		{path: "exporters", about: "The devices that send flows.", params: []param{{"address", "This one only."}, limit}},
		{path: "path", about: "How packets fare toward each backend.", params: []param{{"backend", "This one only."}}},
		{path: "host", about: "Counters of the kernel."},
	} {
		r.serve = network.serve(r.path)
		r.path = "flows/" + r.path
		list = append(list, r)
	}
	for _, r := range list {
		r.lenient = true // the other app knows its parameters
	}
	return list
}

// server returns the app, or why there is none.
func (a relayed) server() (apiServer, error) {
	app, err := findApp(a.app)
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, apiErrorf(http.StatusServiceUnavailable, "%s", a.missing)
	}
	if err != nil {
		return nil, apiErrorf(http.StatusServiceUnavailable, "%s does not run: %w", a.app, err)
	}
	s, ok := app.(apiServer)
	if !ok {
		return nil, apiErrorf(http.StatusServiceUnavailable, "%s is of a version that does not answer here", a.app)
	}
	return s, nil
}

// serve answers with what the app has at a path, with the names of the request put in.
func (a relayed) serve(path ...string) func(c *call) error {
	return func(c *call) error {
		s, err := a.server()
		if err != nil {
			return err
		}
		u := url.URL{Path: a.prefix, RawQuery: c.r.URL.RawQuery}
		raw := u.Path
		for i, p := range path {
			if n, ok := c.names[trimBraces(p)]; ok {
				p = n
			}
			if i > 0 {
				u.Path, raw = u.Path+"/", raw+"/"
			}
			u.Path, raw = u.Path+p, raw+url.PathEscape(p)
		}
		u.RawPath = raw
		r := c.r.Clone(c.r.Context())
		r.URL, r.RequestURI = &u, u.RequestURI()
		return s.ServeAPI(c.w, r)
	}
}

// trimBraces returns the name of a segment in braces, "" for others.
func trimBraces(segment string) string {
	if len(segment) > 2 && segment[0] == '{' {
		return segment[1 : len(segment)-1]
	}
	return ""
}

// ask decodes what the app has at a path into v.
func (a relayed) ask(r *http.Request, path string, v any) error {
	s, err := a.server()
	if err != nil {
		return err
	}
	inner, err := http.NewRequestWithContext(r.Context(), http.MethodGet, a.prefix+path, nil)
	if err != nil {
		return fmt.Errorf("asking %s for %s: %w", a.app, path, err)
	}
	answer := answerBuffer{header: make(http.Header), status: http.StatusOK}
	if err := s.ServeAPI(&answer, inner); err != nil {
		return err
	}
	if answer.status != http.StatusOK {
		return apiErrorf(http.StatusBadGateway, "%s answers %d", a.app, answer.status)
	}
	if err := json.Unmarshal(answer.body.Bytes(), v); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", a.app, err)
	}
	return nil
}

// answerBuffer keeps an answer.
type answerBuffer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answerBuffer) Header() http.Header         { return a.header }
func (a *answerBuffer) WriteHeader(status int)      { a.status = status }
func (a *answerBuffer) Write(p []byte) (int, error) { return a.body.Write(p) }

// Interface guards
var _ http.ResponseWriter = (*answerBuffer)(nil)
