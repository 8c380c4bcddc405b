package lbpro

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// stock is what makes a policy work in Caddy's own `reverse_proxy`. In `lbpro` the handler
// asks for the Picker and does the rest its own way.
//
// Stock has two ways to know the load of upstreams. With `transport lbpro` the policy has
// a pool that lives on over reloads, and the transport tells it what became of requests.
// Without it the policy goes by Caddy's own count of requests in flight.
type stock struct {
	// Weights of upstreams by dial address: the share each should get, relative to 1,
	// which is the default. 0 takes no requests. For use in `reverse_proxy`; the handler
	// `lbpro` has weights of its own.
	Weights map[string]float64 `json:"weights,omitempty"`

	picker balance.Picker
	parent parent
	key    keyer   // nil for policies without a key
	stick  sticker // nil for policies that do not stick

	pool   *sharedPool                  // with feedback, else nil
	plain  atomic.Pointer[balance.Pool] // without
	joined []string
	view   atomic.Pointer[stockView]
}

// stockView is a list of upstreams with their backends, index by index.
type stockView struct {
	made      time.Duration
	upstreams []*reverseproxy.Upstream
	ids       []string
	backends  []*balance.Backend
}

// plainMost bounds the backends that are remembered without feedback, beyond those that
// a dynamic source reports now.
const plainMost = 1024

// share joins a pool that outlives the configuration and is judged by the app.
func (s *stock) share(ctx caddy.Context) error {
	app, err := ctx.App("lbpro")
	if err != nil {
		return fmt.Errorf("getting lbpro app: %w", err)
	}
	h, name := s.parent.proxy, "dynamic"
	var ids []string
	for _, u := range h.Upstreams {
		ids = append(ids, u.Dial)
	}
	if len(ids) > 0 {
		name = ids[0]
	}
	signature, err := json.Marshal([]any{"reverse_proxy", ids, h.DynamicUpstreamsRaw, s.Weights})
	if err != nil {
		return fmt.Errorf("describing the pool: %w", err)
	}
	// To take backends out and to hedge is for the handler that can retry. Here what is
	// learned only steers the choice.
	o := balance.DefaultOptions()
	o.Eject.Disabled, o.Hedge = true, false
	if s.pool, err = app.(*App).usePool(name, false, string(signature), o); err != nil {
		return err
	}
	for _, id := range ids {
		b, fresh := s.pool.join(id)
		if fresh {
			s.configure(b)
		}
		app.(*App).whenStarted(s.pool, func() { s.configure(b) })
		s.joined = append(s.joined, id)
	}
	return nil
}

func (s *stock) configure(b *balance.Backend) *balance.Backend {
	w, ok := s.Weights[b.ID]
	if !ok {
		w = 1
	}
	b.Configure(w, false, 0, clock())
	return b
}

// Cleanup implements caddy.CleanerUpper.
func (s *stock) Cleanup() error {
	if s.pool != nil {
		for _, id := range s.joined {
			s.pool.leave(id)
		}
		releasePool(s.pool.Name)
	}
	return nil
}

// Picker implements balancer.
func (s *stock) Picker() balance.Picker { return s.picker }

// Select implements reverseproxy.Selector.
func (s *stock) Select(upstreams reverseproxy.UpstreamPool, r *http.Request, w http.ResponseWriter) *reverseproxy.Upstream {
	if len(upstreams) == 0 {
		return nil
	}
	if s.parent.lbpro != nil {
		return s.nested(upstreams, r)
	}
	list := s.members(upstreams)
	p := s.placement(r)
	i := s.choose(list, upstreams, p, r)
	if i < 0 {
		return nil
	}
	p.choice.Tried(list[i])
	if s.pool != nil {
		p.next = list[i]
	}
	if s.stick != nil && w != nil {
		s.stick.Stick(w, r, list[i])
	}
	return upstreams[i]
}

// nested chooses as the fallback of one of Caddy's policies within lbpro, which has left
// only what may be used.
func (s *stock) nested(upstreams reverseproxy.UpstreamPool, r *http.Request) *reverseproxy.Upstream {
	if q := requestOf(r.Context()); q != nil {
		c := q.choice
		if s.key != nil {
			c.Key = s.key.RequestKey(r)
		}
		if i := c.PickOpen(q.h.members(upstreams, clock()), s.picker); i >= 0 {
			return upstreams[i]
		}
	}
	return upstreams[rand.IntN(len(upstreams))]
}

// choose picks among the upstreams that Caddy's health checks and limits allow.
func (s *stock) choose(list []*balance.Backend, upstreams reverseproxy.UpstreamPool, p *placement, r *http.Request) int {
	if p.choice.Tries() == 0 {
		if s.stick != nil {
			if i := s.stick.Stuck(r, list); i >= 0 && upstreams[i].Available() {
				return i
			}
		}
		if s.key != nil {
			p.choice.Key = s.key.RequestKey(r)
		}
	}
	pool := list[0].Pool()
	if s.pool == nil {
		mirror(pool, list, upstreams)
	}
	p.asked = p.choice // a copy: what is passed over here was not tried
	for range min(len(list), 8) {
		i, _ := pool.Choose(list, s.picker, &p.asked)
		if i < 0 || upstreams[i].Available() {
			return i
		}
		p.asked.Tried(list[i])
	}
	return anyAvailable(list, upstreams)
}

// mirror tells the pool of Caddy's own count of requests in flight.
func mirror(pool *balance.Pool, list []*balance.Backend, upstreams reverseproxy.UpstreamPool) {
	active := 1 // the one to be placed
	for i, u := range upstreams {
		n := u.NumRequests()
		active += n
		list[i].Mirror(n)
	}
	pool.Mirror(active)
}

// anyAvailable draws one of the upstreams that may be used, for when many may not.
func anyAvailable(list []*balance.Backend, upstreams reverseproxy.UpstreamPool) int {
	chosen, n := -1, 0
	for i, u := range upstreams {
		if u.Available() && list[i].Weight() > 0 && list[i].State() != balance.Draining {
			if n++; rand.IntN(n) == 0 {
				chosen = i
			}
		}
	}
	return chosen
}

// members returns the backends of the upstreams, index by index.
func (s *stock) members(upstreams reverseproxy.UpstreamPool) []*balance.Backend {
	now := clock()
	v := s.view.Load()
	if v != nil && v.of(upstreams) && now-v.made < dynamicIdle/4 {
		return v.backends
	}
	first := v == nil
	v = &stockView{made: now, upstreams: slices.Clone(upstreams)}
	plain := s.plain.Load()
	if plain != nil && len(plain.Backends()) > plainMost+2*len(upstreams) {
		plain = balance.NewPool("", balance.DefaultOptions())
		s.plain.Store(plain)
	}
	for _, u := range upstreams {
		id := u.String()
		var b *balance.Backend
		if plain != nil {
			b = plain.Join(id, now)
		} else {
			b = s.pool.appear(id, now)
		}
		v.ids = append(v.ids, id)
		v.backends = append(v.backends, s.configure(b))
	}
	if h, ok := s.picker.(preparer); ok && first {
		h.Prepare(v.backends)
	}
	s.view.Store(v)
	return v.backends
}

// of reports whether the view is of these upstreams. Dynamic sources make new ones on
// every call, which are the same when their addresses are.
func (v *stockView) of(upstreams reverseproxy.UpstreamPool) bool {
	if len(upstreams) != len(v.upstreams) {
		return false
	}
	for i, u := range upstreams {
		if u != v.upstreams[i] && u.String() != v.ids[i] {
			return false
		}
	}
	return true
}
