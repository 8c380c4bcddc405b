package lbpro

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/cespare/xxhash/v2"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// policyID returns the module ID of a policy of ours.
func policyID(name string) caddy.ModuleID { return caddy.ModuleID(policySpace + "lbpro." + name) }

// errFeedback says how to give a policy what it needs.
var errFeedback = errors.New("this policy has to learn how requests end: in `reverse_proxy` add `transport lbpro`, " +
	"which takes the options of `transport http`, or use the handler `lbpro` instead of `reverse_proxy`")

// provision finds out in which handler the policy stands and prepares for it. A policy
// that needs feedback is refused where it can get none.
func (s *stock) provision(ctx caddy.Context, picker balance.Picker, needsFeedback bool) error {
	s.picker = picker
	s.parent = parentOf(ctx)
	if s.parent.lbpro != nil {
		if len(s.Weights) > 0 {
			return errors.New("weight of the policy: in `lbpro` weights belong to the handler, as `weight <upstream> <number>`")
		}
		return nil
	}
	for id, w := range s.Weights {
		if !(w >= 0 && w <= balance.MaxWeight) {
			return fmt.Errorf("weight of %s is %v: it must be from 0 to %.0f", id, w, balance.MaxWeight)
		}
		if !s.parent.mayHave(id) {
			return fmt.Errorf("weight: %q is not an upstream of this reverse_proxy", id)
		}
	}
	if s.parent.feedback() {
		return s.share(ctx)
	}
	if needsFeedback {
		return errFeedback
	}
	s.plain.Store(balance.NewPool("", balance.DefaultOptions()))
	return nil
}

// parent is the handler in which a policy stands: ours, Caddy's, or neither.
type parent struct {
	lbpro *Handler
	proxy *reverseproxy.Handler
}

func parentOf(ctx caddy.Context) parent {
	for _, m := range slices.Backward(ctx.Modules()) {
		switch h := m.(type) {
		case *Handler:
			return parent{lbpro: h}
		case *reverseproxy.Handler:
			return parent{proxy: h}
		}
	}
	return parent{}
}

// feedback reports whether the handler tells what became of requests.
func (p parent) feedback() bool {
	if p.proxy == nil {
		return p.lbpro != nil
	}
	_, ok := p.proxy.Transport.(*Transport)
	return ok
}

// mayHave reports whether the handler may have the upstream.
func (p parent) mayHave(id string) bool {
	return p.proxy == nil || p.proxy.DynamicUpstreamsRaw != nil || p.proxy.DynamicUpstreams != nil ||
		slices.ContainsFunc(p.proxy.Upstreams, func(u *reverseproxy.Upstream) bool { return u.Dial == id })
}

// transport returns what carries the handler's requests, nil when that is not known.
func (p parent) transport() http.RoundTripper {
	switch {
	case p.lbpro != nil:
		return p.lbpro.carrier.inner
	case p.proxy != nil:
		return p.proxy.Transport
	}
	return nil
}

// hashKey is the key of the policies that place by one.
type hashKey struct {
	// What requests are placed by: a text with placeholders. Requests for which it is
	// empty, as when a header is missing, go anywhere. Default: `{http.vars.client_ip}`.
	Key string `json:"key,omitempty"`
}

func (k *hashKey) provision() {
	if k.Key == "" {
		k.Key = "{http.vars.client_ip}"
	}
}

func (k *hashKey) validate() error {
	if !strings.Contains(k.Key, "{") {
		return fmt.Errorf("key is %q: it has no placeholder, so that every request would go to the same backend; "+
			"give one such as {http.request.uri.path}, {http.vars.client_ip} or {http.request.header.X-User}", k.Key)
	}
	return nil
}

// RequestKey implements keyer.
func (k *hashKey) RequestKey(r *http.Request) uint64 {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return rand.Uint64()
	}
	text := repl.ReplaceAll(k.Key, "")
	if text == "" {
		return rand.Uint64()
	}
	return xxhash.Sum64String(text) // the same in every process
}

// parse takes the key as an argument of the policy.
func (k *hashKey) parse(d *caddyfile.Dispenser) func(string) error {
	return func(v string) error {
		if k.Key != "" {
			return d.Err("key is given already")
		}
		k.Key = v
		return nil
	}
}

// option parses `key <placeholder>`.
func (k *hashKey) option(d *caddyfile.Dispenser) func() error {
	return func() error {
		var v string
		if err := argument.Texts(d, &v); err != nil {
			return err
		}
		return k.parse(d)(v)
	}
}

// policyOptions parses what stands behind a policy's name: at most one argument, where
// value is not nil, and a block of options.
func (s *stock) policyOptions(d *caddyfile.Dispenser, value func(string) error, known map[string]func() error, order string) error {
	d.Next()
	name := strings.TrimPrefix(d.Val(), "lbpro.")
	if value != nil && d.NextArg() {
		if err := value(d.Val()); err != nil {
			return err
		}
	}
	if err := argument.NoMore(d); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		option := d.Val()
		if option == "weight" {
			if err := s.parseWeight(d); err != nil {
				return err
			}
			continue
		}
		parse := known[option]
		if parse == nil {
			return d.Errf("unknown option %q of %s; the options are %s", option, name, strings.TrimPrefix(order+", weight", ", "))
		}
		if seen[option] {
			return d.Errf("option %q of %s is given already", option, name)
		}
		seen[option] = true
		if err := parse(); err != nil {
			return err
		}
	}
	return nil
}

func (s *stock) parseWeight(d *caddyfile.Dispenser) error {
	var upstream, value string
	if err := argument.Texts(d, &upstream, &value); err != nil {
		return err
	}
	w, err := strconv.ParseFloat(value, 64)
	if err != nil || !(w >= 0 && w <= balance.MaxWeight) {
		return d.Errf("weight of %s is %q: it must be a number from 0 to %.0f", upstream, value, balance.MaxWeight)
	}
	if _, ok := s.Weights[upstream]; ok {
		return d.Errf("weight of %s is given already", upstream)
	}
	if s.Weights == nil {
		s.Weights = make(map[string]float64)
	}
	s.Weights[upstream] = w
	return nil
}

// checkBand validates the width of a tie.
func checkBand(band float64) error {
	if !(band >= 0 && band <= 1) {
		return fmt.Errorf("band is %v: it is a share above 0 up to 1; leave it out for 0.1", band)
	}
	return nil
}

// A preparer is a Picker that works something out of the list of backends beforehand.
type preparer interface{ Prepare([]*balance.Backend) }
