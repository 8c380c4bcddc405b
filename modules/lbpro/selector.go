package lbpro

import (
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// selector is the selection policy that the embedded handler asks once per attempt. It
// chooses for the request that the context carries and reserves the backend.
type selector struct{ h *Handler }

// Select implements reverseproxy.Selector.
func (s selector) Select(pool reverseproxy.UpstreamPool, r *http.Request, _ http.ResponseWriter) *reverseproxy.Upstream {
	q := requestOf(r.Context())
	if q == nil {
		return nil
	}
	q.trip.header, q.trip.host = r.Header, r.Host
	return q.choose(pool, r)
}

// members returns the backends of the upstreams, index by index. For the static list it
// is made once; for a dynamic one as long as the source reports the same.
func (h *Handler) members(list reverseproxy.UpstreamPool, now time.Duration) []*balance.Backend {
	if len(list) == len(h.static) && len(list) > 0 && list[0] == h.Upstreams[0] {
		return h.static
	}
	if v := h.view.Load(); v != nil && v.of(list) && now-v.made < dynamicIdle/4 {
		return v.backends
	}
	v := &memberView{made: now}
	for _, u := range list {
		v.ids = append(v.ids, u.String())
		v.backends = append(v.backends, h.member(h.pool.appear(u.String(), now)))
	}
	h.view.Store(v)
	return v.backends
}

// memberView is what a dynamic source last reported.
type memberView struct {
	made     time.Duration
	ids      []string
	backends []*balance.Backend
}

func (v *memberView) of(list reverseproxy.UpstreamPool) bool {
	if len(list) != len(v.ids) {
		return false
	}
	for i, u := range list {
		if u.String() != v.ids[i] {
			return false
		}
	}
	return true
}

// pick chooses among list for q by the handler's policy. Upstreams that Caddy's own
// health checks, circuit breaker or max_requests rule out are passed over.
func (h *Handler) pick(q *request, list []*balance.Backend, pool reverseproxy.UpstreamPool, r *http.Request) (int, bool) {
	if h.stick != nil && q.choice.Tries() == 0 {
		if i := h.stick.Stuck(r, list); i >= 0 && pool[i].Available() {
			return i, false
		}
	}
	policy := h.picker
	if h.foreign != nil {
		policy = &foreignPicker{h.foreign, pool, r, q.w}
	}
	passed := &q.choice
	for range min(len(list), 8) {
		i, probe := h.pool.Choose(list, policy, passed)
		if i < 0 || pool[i].Available() {
			return i, probe
		}
		if probe {
			list[i].Unprobe()
		}
		if passed == &q.choice {
			c := q.choice // a copy: what is ruled out here was not tried
			passed = &c
		}
		passed.Tried(list[i])
	}
	// Eight in a row: look at all of them rather than draw again.
	for i, u := range pool {
		if u.Available() && list[i].Open() && !q.choice.HasTried(list[i]) {
			return i, false
		}
	}
	return -1, false
}

// foreignPicker asks a policy that is not ours among the upstreams that may be used.
type foreignPicker struct {
	policy reverseproxy.Selector
	pool   reverseproxy.UpstreamPool
	r      *http.Request
	w      http.ResponseWriter
}

// Pick implements balance.Picker. It allocates only when some upstream is ruled out.
func (f *foreignPicker) Pick(list []*balance.Backend, c *balance.Choice) int {
	open := f.pool
	for i, b := range list {
		if !c.Eligible(b) {
			open = slices.Clone(f.pool[:i])
			for j := i + 1; j < len(list); j++ {
				if c.Eligible(list[j]) {
					open = append(open, f.pool[j])
				}
			}
			break
		}
	}
	if len(open) == 0 {
		return -1
	}
	return slices.Index(f.pool, f.policy.Select(open, f.r, f.w))
}
