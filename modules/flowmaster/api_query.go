package flowmaster

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// query reads the parameters of a request, and knows afterwards which were not asked for.
type query struct {
	values url.Values
	asked  []string
}

// readQuery refuses what cannot be read as parameters, and those that are given twice:
// what is left out without a word might be the very filter.
func readQuery(text string) (*query, error) {
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, apiError(http.StatusBadRequest, "reading the parameters: %w: they are name=value, joined by & and with %%-escapes", err)
	}
	for name, list := range values {
		if len(list) > 1 {
			return nil, apiError(http.StatusBadRequest, "%.100q is given %d times: give it once", name, len(list))
		}
	}
	return &query{values: values}, nil
}

func (q *query) get(name string) string {
	q.asked = append(q.asked, name)
	return q.values.Get(name)
}

// unknown refuses parameters that the resource does not have: a filter with a typing
// error must not show everything.
func (q *query) unknown() error {
	for name := range q.values {
		if !slices.Contains(q.asked, name) {
			if len(q.asked) == 0 {
				return apiError(http.StatusBadRequest, "there is no parameter %.100q: this resource has none", name)
			}
			return apiError(http.StatusBadRequest, "there is no parameter %.100q: there are %s", name, strings.Join(q.asked, ", "))
		}
	}
	return nil
}

// limit reads the parameter limit.
func (q *query) limit(otherwise, most int) (int, error) {
	text := q.get("limit")
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, apiError(http.StatusBadRequest, "limit is %.100q: it must be a number from 1 to %d", text, most)
	}
	return n, nil
}

func (q *query) window() (flow.Window, error) {
	text := q.get("window")
	if text == "" {
		return flow.LastMinute, nil
	}
	w, ok := flow.ParseWindow(text)
	if !ok {
		return w, apiError(http.StatusBadRequest, "window is %.100q: it must be 1m, 10m or 1h", text)
	}
	return w, nil
}

func (q *query) dimension() (flow.Dimension, error) {
	text := q.get("by")
	if text == "" {
		return flow.ByClientPrefix, nil
	}
	d, ok := flow.ParseDimension(text)
	if !ok {
		var names []string
		for _, d := range flow.Dimensions() {
			names = append(names, d.String())
		}
		return d, apiError(http.StatusBadRequest, "by is %.100q: it must be %s", text, strings.Join(names, ", "))
	}
	return d, nil
}

func (q *query) flag(name string) (bool, error) {
	switch text := q.get(name); text {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, apiError(http.StatusBadRequest, "%s is %.100q: it must be true or false", name, text)
	}
}

// oneOf reads a parameter that names one of the values of an enumeration.
func oneOf[T interface {
	~uint8
	String() string
}](q *query, name string, first, last T) (want T, given bool, err error) {
	text := q.get(name)
	if text == "" {
		return want, false, nil
	}
	var names []string
	for v := first; v <= last; v++ {
		if v.String() == text {
			return v, true, nil
		}
		names = append(names, v.String())
	}
	return want, false, apiError(http.StatusBadRequest, "%s is %.100q: it must be %s", name, text, strings.Join(names, ", "))
}

func (q *query) prefix(name string) (p netip.Prefix, err error) {
	text := q.get(name)
	if text == "" {
		return p, nil
	}
	if p, err = parsePrefix(text); err != nil {
		return p, apiError(http.StatusBadRequest, "%s is %.100q: %w", name, text, err)
	}
	return p, nil
}

// stored is a prefix of addresses as they are stored: one that asks for more of an address
// than is kept would find nothing, or all that look alike.
func (q *query) stored(name string, k monitorKey) (p netip.Prefix, err error) {
	if p, err = q.prefix(name); err != nil || !p.IsValid() || k.hash {
		return p, err
	}
	kept := int(k.mask.IPv6)
	if p.Addr().Is4() {
		kept = int(k.mask.IPv4)
	}
	if p.Bits() > kept {
		return p, apiError(http.StatusBadRequest, "%s is %s: of addresses only %d bits are kept (see the option mask), so ask for %s",
			name, p, kept, netip.PrefixFrom(p.Addr(), kept).Masked())
	}
	return p, nil
}

// flows reads the filters for flows. nil keeps all.
func (q *query) flows(names *flow.Names, k monitorKey) (keep func(*flow.Record) bool, err error) {
	var tests []func(*flow.Record) bool
	leg, given, err := oneOf(q, "leg", flow.LegDownstream, flow.LegObserved)
	if err != nil {
		return nil, err
	}
	if given {
		tests = append(tests, func(r *flow.Record) bool { return r.Leg == leg })
	}
	source, given, err := oneOf(q, "source", flow.SourceConnection, flow.SourceSFlow)
	if err != nil {
		return nil, err
	}
	if given {
		tests = append(tests, func(r *flow.Record) bool { return r.Source == source })
	}
	for _, by := range []struct {
		name string
		id   func(*flow.Record) flow.NameID
	}{
		{"pool", func(r *flow.Record) flow.NameID { return r.Pool }},
		{"backend", func(r *flow.Record) flow.NameID { return r.Backend }},
		{"server", func(r *flow.Record) flow.NameID { return r.Server }},
	} {
		if want := q.get(by.name); want != "" {
			tests = append(tests, func(r *flow.Record) bool { return names.Name(by.id(r)) == want })
		}
	}
	exporter, err := q.prefix("exporter")
	if err != nil {
		return nil, err
	}
	if exporter.IsValid() {
		tests = append(tests, func(r *flow.Record) bool { return exporter.Contains(r.Exporter.Netip()) })
	}
	ends, err := q.stored("prefix", k)
	if err != nil {
		return nil, err
	}
	if ends.IsValid() {
		tests = append(tests, func(r *flow.Record) bool {
			return ends.Contains(r.SourceAddress.Netip()) || ends.Contains(r.DestinationAddress.Netip())
		})
	}
	if text := q.get("port"); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return nil, apiError(http.StatusBadRequest, "port is %.100q: it must be a number from 0 to 65535", text)
		}
		tests = append(tests, func(r *flow.Record) bool {
			return r.SourceTransportPort == uint16(n) || r.DestinationTransportPort == uint16(n)
		})
	}
	if len(tests) == 0 {
		return nil, nil
	}
	return func(r *flow.Record) bool {
		for _, ok := range tests {
			if !ok(r) {
				return false
			}
		}
		return true
	}, nil
}
