package analytics

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// promPrefix is where, below /api/, what Prometheus' clients ask for stands.
const promPrefix = "v1/"

// promResources are the part of Prometheus' HTTP API that Grafana's data source and
// `promtool query` use.
func promResources() []*resource {
	limit := param{"limit", "At most so many results; 0 for all."}
	span := []param{
		{"start", "Time of the first sample to look for; without it the oldest there is."},
		{"end", "Time of the last one; without it the newest."},
	}
	match := param{"match[]", "A selector such as `caddy_lbpro_backend_requests_total{pool=\"app\"}`; may be repeated."}
	timeout := param{"timeout", "Give up after so long; never later than the `timeout` of the configuration."}
	list := []*resource{
		{
			path: "query", serve: serveQuery, form: true, about: "A PromQL expression at one time.",
			params: []param{{"query", "The expression."}, {"time", "When; now without it."}, timeout, limit},
		},
		{
			path: "query_range", serve: serveQueryRange, form: true, about: "A PromQL expression over a range of time.",
			params: []param{
				{"query", "The expression."}, {"start", "Time of the first point."}, {"end", "Time of the last point."},
				{"step", "Time between points."}, timeout, limit,
			},
		},
		{
			path: "labels", serve: serveLabels, form: true, about: "Names of labels.",
			params: slices.Concat(span, []param{match, limit}),
		},
		{
			path: "label/{name}/values", serve: serveLabelValues, about: "Values of a label.",
			params: slices.Concat(span, []param{match, limit}),
		},
		{
			path: "series", serve: serveSeries, form: true, about: "Series that match.",
			params: slices.Concat([]param{match}, span, []param{limit}),
		},
		{
			path: "metadata", serve: serveMetadata, about: "Type and help of this process's metrics, and of those collected from other sources. Those of a remote store are not known here.",
			params: []param{{"metric", "Of this metric only."}, {"limit", "At most so many metrics."}, {"limit_per_metric", "At most so many entries of each."}},
		},
		{
			path: "format_query", serve: serveFormatQuery, form: true, about: "A PromQL expression, laid out for reading.",
			params: []param{{"query", "The expression."}},
		},
		{
			path: "rules", serve: serveRules, about: "Rules of Prometheus: none are evaluated here, and the list is empty.",
			params: []param{{"type", "`alert` or `record` only."}},
		},
		{
			path: "query_exemplars", serve: serveExemplars, form: true, about: "Exemplars of the series of an expression: none are kept, and the list is empty.",
			params: slices.Concat([]param{{"query", "The expression."}}, span),
		},
		{path: "status/buildinfo", serve: serveBuildInfo, about: "The version of Prometheus' engine in use."},
	}
	for _, r := range list {
		r.path, r.lenient = promPrefix+r.path, true
	}
	return list
}

// promError is an error with its type in Prometheus' API.
type promError struct {
	status int
	kind   string
	err    error
}

func (e *promError) Error() string { return e.err.Error() }
func (e *promError) Unwrap() error { return e.err }

// Types of errors that clients know.
const (
	promBadData     = "bad_data"
	promExecution   = "execution"
	promTimeout     = "timeout"
	promCanceled    = "canceled"
	promInternal    = "internal"
	promUnavailable = "unavailable"
	promNotFound    = "not_found"
)

func badData(err error) error { return &promError{http.StatusBadRequest, promBadData, err} }

// beyond is an error about a question that is larger than the configuration allows.
func beyond(err error) error { return &promError{http.StatusUnprocessableEntity, promExecution, err} }

// promErrorBody is an error as Prometheus writes it.
func promErrorBody(err error, status int, text string) any {
	kind := promInternal
	var e *promError
	switch {
	case errors.As(err, &e):
		kind = e.kind
	case status == http.StatusNotFound:
		kind = promNotFound
	case status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests:
		kind = promUnavailable
	case status < 500:
		kind = promBadData
	}
	return struct {
		Status string `json:"status"`
		Type   string `json:"errorType"`
		Error  string `json:"error"`
	}{"error", kind, text}
}

// storeError gives an error of the store its status.
func storeError(err error) error {
	var prom *promError
	var api caddy.APIError
	switch {
	case errors.As(err, &prom), errors.As(err, &api):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return &promError{http.StatusServiceUnavailable, promTimeout, errors.New(
			"the query took too long: ask for fewer series or a shorter range, or raise `query timeout` in the configuration")}
	case errors.Is(err, context.Canceled):
		return &promError{http.StatusServiceUnavailable, promCanceled, err}
	case errors.Is(err, store.ErrClosed):
		return &promError{http.StatusServiceUnavailable, promUnavailable, errors.New("the store is closed: Caddy is reloading or stopping; ask again")}
	}
	return &promError{http.StatusUnprocessableEntity, promExecution, err}
}

// expressions parses PromQL as the stores do.
var expressions = parser.NewParser(parser.Options{})

// matchers returns the parameter match[].
func (c *call) matchers() ([][]*labels.Matcher, error) {
	sets, err := expressions.ParseMetricSelectors(c.form["match[]"])
	if err != nil {
		return nil, badData(err)
	}
	for _, set := range sets {
		if !slices.ContainsFunc(set, func(m *labels.Matcher) bool { return m != nil && !m.Matches("") }) {
			return nil, badData(errors.New("match[] must contain at least one non-empty matcher"))
		}
	}
	return sets, nil
}

// mostResults bounds lists of labels and series.
const mostResults = 100_000

// lookup is a request for what there is in the store.
func (c *call) lookup(ask func(ctx context.Context, s store.Store, q labelQuestion) error) error {
	var q labelQuestion
	var err error
	if q.from, err = c.time("start", minAPITime); err != nil {
		return err
	}
	if q.to, err = c.time("end", maxAPITime); err != nil {
		return err
	}
	if q.to.Before(q.from) {
		return badData(errors.New("end is before start"))
	}
	if q.limit, err = c.number("limit", 0, 0, 1<<31-1); err != nil {
		return err
	}
	if q.matchers, err = c.matchers(); err != nil {
		return err
	}
	return c.withStore(func(ctx context.Context, s store.Store) error { return ask(ctx, s, q) })
}

func serveLabels(c *call) error {
	return c.lookup(func(ctx context.Context, s store.Store, q labelQuestion) error {
		names, notes, err := s.LabelNames(ctx, q.from, q.to, q.ask(), q.matchers...)
		if err != nil {
			return storeError(err)
		}
		names, notes = cut(q, names, notes)
		return c.writeProm(names, notes, "")
	})
}

func serveLabelValues(c *call) error {
	name := c.names["name"]
	if strings.HasPrefix(name, "U__") {
		name = model.UnescapeName(name, model.ValueEncodingEscaping)
	}
	if !model.UTF8Validation.IsValidLabelName(name) {
		return badData(errors.New("invalid label name"))
	}
	return c.lookup(func(ctx context.Context, s store.Store, q labelQuestion) error {
		values, notes, err := s.LabelValues(ctx, name, q.from, q.to, q.ask(), q.matchers...)
		if err != nil {
			return storeError(err)
		}
		values, notes = cut(q, values, notes)
		return c.writeProm(values, notes, "")
	})
}

func serveSeries(c *call) error {
	if len(c.form["match[]"]) == 0 {
		return badData(errors.New("no match[] parameter provided"))
	}
	return c.lookup(func(ctx context.Context, s store.Store, q labelQuestion) error {
		series, notes, err := s.Series(ctx, q.from, q.to, q.ask(), q.matchers...)
		if err != nil {
			return storeError(err)
		}
		series, notes = cut(q, series, notes)
		return c.writeProm(series, notes, "")
	})
}

// cut keeps a list within its limit and says so.
func cut[T any](q labelQuestion, list []T, notes annotations.Annotations) ([]T, annotations.Annotations) {
	if most := cmp.Or(min(q.limit, mostResults), mostResults); len(list) > most {
		list = list[:most]
		notes = notes.Add(errors.New("results truncated due to limit"))
	}
	if list == nil {
		list = []T{} // not null
	}
	return list, notes
}
