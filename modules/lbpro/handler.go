package lbpro

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler is a reverse proxy that places each request on the backend that will answer it
// soonest and keeps serving while backends misbehave. It accepts everything that
// `reverse_proxy` does and works the same there, with better defaults: failing, silent
// and slow backends are noticed and avoided, requests that failed or hang there are
// tried elsewhere when that is safe, and a short outage of all backends is waited out.
//
// Of the fields of `reverse_proxy`, `load_balancing.retries` sets `retry.attempts` to one
// more than itself, and `load_balancing.try_duration` sets `queue.timeout`, where these
// are not set; `load_balancing.retry_match` adds requests and responses that may be
// tried again.
type Handler struct {
	reverseproxy.Handler

	// The name of the pool in metrics, API and logs. Handlers that name the same pool
	// share its state. Default: the first upstream's address. Give one when the list of
	// upstreams changes between reloads, so that statistics stay.
	Pool string `json:"pool,omitempty"`

	// Weights of upstreams by dial address: the share of requests each should get,
	// relative to 1, which is the default. With `adaptive` a weight says how much larger
	// a backend is; what it really can do is still measured. 0 takes no requests.
	Weights map[string]float64 `json:"weights,omitempty"`

	// Dial addresses of upstreams that are used only when the others cannot serve.
	Backups []string `json:"backups,omitempty"`

	// When a backend is taken out, and for how long.
	Eject *Eject `json:"eject,omitempty"`

	// The share of backends that must be able to serve, 0 to 1. Below it ejected ones are
	// used too, because some of them may work. Default: 0.5.
	PanicThreshold *float64 `json:"panic_threshold,omitempty"`

	// How a backend that recovered or joined is brought to its full share.
	SlowStart *SlowStart `json:"slow_start,omitempty"`

	// When and how often a request is tried again.
	Retry *Retry `json:"retry,omitempty"`

	// The most requests in flight at one backend. Further ones wait in the queue.
	// Default: 0, no limit.
	Limit int `json:"limit,omitempty"`

	// Where requests wait that no backend can take now.
	Queue *Queue `json:"queue,omitempty"`

	// Whether a request without a body that waits for a first byte from a silent backend
	// is sent to another as well; the first answer wins. Within the retry budget, and
	// only methods that may be repeated. Default: true.
	Hedge *bool `json:"hedge,omitempty"`

	app     *App
	logger  *zap.Logger
	pool    *sharedPool
	joined  []string
	set     settings
	picker  balance.Picker // nil when foreign is asked
	key     keyer
	stick   sticker
	foreign reverseproxy.Selector
	static  []*balance.Backend // aligned with Upstreams
	view    atomic.Pointer[memberView]
	carrier *carrier

	ownTransport *reverseproxy.HTTPTransport // the default one; Caddy cleans up those that it loads
	embedded     bool                        // the embedded handler was provisioned, so it has to be cleaned up
	ended        atomic.Bool                 // cleaned up; requests may still come

	places map[string]caddyfile.Token // while a Caddyfile is parsed: where options stand

	retryMatch bool // retry_match is set: it may name requests that are not idempotent
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.lbpro", New: func() caddy.Module { return new(Handler) }}
}

// Provision implements caddy.Provisioner.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	app, err := ctx.App("lbpro")
	if err != nil {
		return fmt.Errorf("getting lbpro app: %w", err)
	}
	h.app = app.(*App)

	if h.LoadBalancing == nil {
		h.LoadBalancing = new(reverseproxy.LoadBalancing)
	}
	if h.set, err = h.settings(); err != nil {
		return err
	}
	if err := h.provisionPolicy(ctx); err != nil {
		return err
	}
	inner, err := h.provisionTransport(ctx)
	if err != nil {
		return err
	}
	h.carrier = newCarrier(h, inner)
	h.Transport = h.carrier

	// The embedded handler makes one attempt; whether another follows is decided here.
	lb := h.LoadBalancing
	h.retryMatch = len(lb.RetryMatchRaw) > 0
	lb.Retries, lb.TryDuration, lb.TryInterval = 0, 0, 0
	lb.SelectionPolicy = selector{h}
	if err := h.provisionPool(); err != nil {
		return err
	}
	if err := watchUpstreams(ctx, h.pool.Name, inner); err != nil {
		return err
	}
	h.embedded = true
	return h.Handler.Provision(ctx)
}

// provisionPolicy loads the selection policy; without one it is `adaptive`.
func (h *Handler) provisionPolicy(ctx caddy.Context) error {
	policy := any(balancerDefault{})
	if h.LoadBalancing.SelectionPolicyRaw != nil {
		mod, err := ctx.LoadModule(h.LoadBalancing, "SelectionPolicyRaw")
		if err != nil {
			return fmt.Errorf("loading selection policy: %w", err)
		}
		policy = mod
	}
	if b, ok := policy.(balancer); ok {
		h.picker = b.Picker()
		h.key, _ = policy.(keyer)
		h.stick, _ = policy.(sticker)
		return nil
	}
	s, ok := policy.(reverseproxy.Selector)
	if !ok {
		return fmt.Errorf("selection policy %T cannot select", policy)
	}
	h.foreign = s
	return nil
}

// balancerDefault is the policy of a handler without one.
type balancerDefault struct{}

func (balancerDefault) Picker() balance.Picker { return balance.Adaptive{} }

// provisionTransport loads the transport that the carrier wraps.
func (h *Handler) provisionTransport(ctx caddy.Context) (http.RoundTripper, error) {
	if h.Transport != nil {
		return h.Transport, nil
	}
	if h.TransportRaw == nil {
		t := new(reverseproxy.HTTPTransport)
		if err := t.Provision(ctx); err != nil {
			return nil, fmt.Errorf("provisioning default transport: %w", err)
		}
		h.ownTransport = t
		return t, nil
	}
	mod, err := ctx.LoadModule(&h.Handler, "TransportRaw")
	if err != nil {
		return nil, fmt.Errorf("loading transport: %w", err)
	}
	return mod.(http.RoundTripper), nil
}

// Cleanup implements caddy.CleanerUpper.
func (h *Handler) Cleanup() error {
	h.ended.Store(true)
	var err error
	if h.embedded {
		err = h.Handler.Cleanup()
	}
	if h.ownTransport != nil {
		err = errors.Join(err, h.ownTransport.Cleanup())
	}
	if h.pool != nil {
		for _, id := range h.joined {
			h.pool.leave(id)
		}
		releasePool(h.pool.Name)
	}
	return err
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	defer h.closeLate()
	return newRequest(h, w, r).serve(next)
}

// closeLate ends the connections that a request has left idle behind an ended
// configuration. In a reload Caddy does not wait for the requests of the old servers, and
// a request that starts after the transport was cleaned up makes it keep connections again,
// each for its idle timeout.
func (h *Handler) closeLate() {
	if !h.ended.Load() {
		return
	}
	switch t := h.carrier.inner.(type) {
	case *reverseproxy.HTTPTransport:
		t.Transport.CloseIdleConnections()
	case *Transport:
		t.Transport.CloseIdleConnections()
	}
}

// longOutage reports whether the pool has been out for so long that nobody should wait
// for it any more.
func (h *Handler) longOutage(now time.Duration) bool {
	since := h.pool.outage.Load()
	return since != 0 && !h.set.patient && now-time.Duration(since) > 2*h.set.queueTimeout
}

var errNoBackend = errors.New("no backend can take the request")

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
