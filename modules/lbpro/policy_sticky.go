package lbpro

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

func init() {
	caddy.RegisterModule(new(Sticky))
}

// Sticky sends a client back to the upstream that served it before, as long as that one
// can; else, and at first, it is placed as by `adaptive` (in `reverse_proxy` without
// `transport lbpro`: as by `least_request`). A client is known by a cookie that holds no
// address but an HMAC of it, which nobody can make for an upstream of their choice.
//
// An upstream that is drained with a deadline keeps its clients until then.
//
// The cookie is always HttpOnly. Two pools on one site need cookies of different names.
type Sticky struct {
	stock

	// Name of the cookie. Default: `lb`.
	Cookie string `json:"cookie,omitempty"`
	// Path of the cookie. Default: `/`.
	Path string `json:"path,omitempty"`
	// Domain of the cookie. Default: none, which is the host of the request only.
	Domain string `json:"domain,omitempty"`
	// How long a browser keeps the cookie. Default: 0, until it is closed.
	MaxAge caddy.Duration `json:"max_age,omitempty"`
	// Whether the cookie goes along with requests from other sites: `lax`, `strict` or
	// `none`, which browsers accept with `secure` only. Default: `lax`.
	SameSite string `json:"same_site,omitempty"`
	// Whether the cookie goes over TLS only: `on`, `off`, or `auto`, which is on for
	// requests that came over TLS, here or at a trusted proxy. Default: `auto`.
	Secure string `json:"secure,omitempty"`
	// Secret of the HMAC, at least 16 bytes; may have placeholders such as
	// `{env.LB_SECRET}`. Default: a random one, made at first use and kept in Caddy's
	// storage, so that instances with the same storage agree.
	Secret string `json:"secret,omitempty"`

	signer stickyKey
	view   atomic.Pointer[stickyView]
}

// stickyView is a list of backends with what their cookies hold.
type stickyView struct {
	list   []*balance.Backend
	tokens map[string]int
}

// cookiesMost bounds how many cookies of our name are looked at in one request.
const cookiesMost = 4

// CaddyModule returns the Caddy module information.
func (*Sticky) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: policyID("sticky"), New: func() caddy.Module { return new(Sticky) }}
}

// Provision implements caddy.Provisioner.
func (p *Sticky) Provision(ctx caddy.Context) error {
	if p.Cookie == "" {
		p.Cookie = "lb"
	}
	if p.Path == "" {
		p.Path = "/"
	}
	if p.SameSite == "" {
		p.SameSite = "lax"
	}
	if p.Secure == "" {
		p.Secure = "auto"
	}
	if err := p.signer.provision(ctx, p.Secret); err != nil {
		return err
	}
	p.stick = p
	var picker balance.Picker = balance.LeastRequest{}
	if parentOf(ctx).feedback() {
		picker = balance.Adaptive{}
	}
	return p.provision(ctx, picker, false)
}

var sameSites = map[string]http.SameSite{
	"lax": http.SameSiteLaxMode, "strict": http.SameSiteStrictMode, "none": http.SameSiteNoneMode,
}

// Validate implements caddy.Validator.
func (p *Sticky) Validate() error {
	c := http.Cookie{Name: p.Cookie, Value: "x", Path: p.Path, Domain: p.Domain}
	if err := c.Valid(); err != nil {
		return fmt.Errorf("cookie %q with path %q and domain %q cannot be set: %w", p.Cookie, p.Path, p.Domain, err)
	}
	if !strings.HasPrefix(p.Path, "/") {
		return fmt.Errorf("path is %q: it must begin with /", p.Path)
	}
	if p.MaxAge < 0 || p.MaxAge > 0 && time.Duration(p.MaxAge) < time.Second {
		return fmt.Errorf("max_age is %v: it must be at least 1s; leave it out to keep the cookie until the browser is closed", time.Duration(p.MaxAge))
	}
	if sameSites[p.SameSite] == 0 {
		return fmt.Errorf("same_site is %q: it must be lax, strict or none", p.SameSite)
	}
	switch p.Secure {
	case "auto", "on":
	case "off":
		if p.SameSite == "none" {
			return errors.New("same_site none with secure off: browsers drop such a cookie; set secure on or auto, or same_site lax")
		}
	default:
		return fmt.Errorf("secure is %q: it must be auto, on or off", p.Secure)
	}
	return nil
}

// Stuck implements sticker.
func (p *Sticky) Stuck(r *http.Request, list []*balance.Backend) int {
	if len(list) == 0 {
		return -1
	}
	tokens := p.tokens(list)
	for _, token := range p.sent(r) {
		i, ok := tokens[token]
		if !ok {
			continue
		}
		if b := list[i]; b.Open() || b.KeepsSticky(clock()) && !b.Full() && !b.Silent() {
			return i
		}
	}
	return -1
}

// Stick implements sticker.
func (p *Sticky) Stick(w http.ResponseWriter, r *http.Request, b *balance.Backend) {
	p.unset(w.Header())
	token := p.signer.token(b.ID)
	if sent := p.sent(r); len(sent) > 0 && sent[0] == token {
		return
	}
	secure := p.Secure == "on" || p.Secure == "auto" && (overTLS(r) || p.SameSite == "none")
	http.SetCookie(w, &http.Cookie{
		Name: p.Cookie, Value: token, Path: p.Path, Domain: p.Domain,
		MaxAge: int(time.Duration(p.MaxAge) / time.Second), HttpOnly: true,
		Secure: secure, SameSite: sameSites[p.SameSite],
	})
}

// unset takes back the cookie that an earlier attempt has set.
func (p *Sticky) unset(h http.Header) {
	set := h["Set-Cookie"]
	if len(set) == 0 {
		return
	}
	set = slices.DeleteFunc(set, func(line string) bool { return strings.HasPrefix(line, p.Cookie+"=") })
	if len(set) == 0 {
		h.Del("Set-Cookie")
		return
	}
	h["Set-Cookie"] = set
}

// sent returns what the client's cookies of our name hold, without what cannot be ours.
func (p *Sticky) sent(r *http.Request) []string {
	var tokens []string
	for i, c := range r.CookiesNamed(p.Cookie) {
		if i == cookiesMost {
			break
		}
		if len(c.Value) == tokenLength {
			tokens = append(tokens, c.Value)
		}
	}
	return tokens
}

// tokens returns the backends of a list by their tokens.
func (p *Sticky) tokens(list []*balance.Backend) map[string]int {
	if v := p.view.Load(); v != nil && slices.Equal(v.list, list) {
		return v.tokens
	}
	v := &stickyView{list: slices.Clone(list), tokens: make(map[string]int, len(list))}
	for i, b := range list {
		v.tokens[p.signer.token(b.ID)] = i
	}
	p.view.Store(v)
	return v.tokens
}

// overTLS reports whether the client's connection is encrypted, as seen here or as a
// trusted proxy says.
func overTLS(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); !trusted {
		return false
	}
	values := r.Header.Values("X-Forwarded-Proto")
	if len(values) == 0 {
		return false
	}
	last := values[len(values)-1]
	last = last[strings.LastIndexByte(last, ',')+1:]
	return strings.EqualFold(strings.TrimSpace(last), "https")
}

// UnmarshalCaddyfile sets up the policy:
//
//	lb_policy lbpro.sticky [<cookie>] {
//	    cookie    <name>
//	    path      <path>
//	    domain    <domain>
//	    max_age   <duration>
//	    same_site lax|strict|none
//	    secure    auto|on|off
//	    secret    <text>
//	    weight    <upstream> <number>
//	}
func (p *Sticky) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	name := func(v string) error {
		if p.Cookie != "" {
			return d.Err("the cookie is named already")
		}
		p.Cookie = v
		return nil
	}
	return p.policyOptions(d, name, map[string]func() error{
		"cookie": func() error {
			var v string
			if err := argument.Texts(d, &v); err != nil {
				return err
			}
			return name(v)
		},
		"path":      func() error { return argument.Texts(d, &p.Path) },
		"domain":    func() error { return argument.Texts(d, &p.Domain) },
		"max_age":   func() error { return argument.DurationFrom0(d, &p.MaxAge) },
		"same_site": func() error { return argument.Texts(d, &p.SameSite) },
		"secure":    func() error { return argument.Texts(d, &p.Secure) },
		"secret":    func() error { return argument.Texts(d, &p.Secret) },
	}, "cookie, path, domain, max_age, same_site, secure, secret")
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Sticky)(nil)
	_ caddy.Validator       = (*Sticky)(nil)
	_ caddy.CleanerUpper    = (*Sticky)(nil)
	_ caddyfile.Unmarshaler = (*Sticky)(nil)
	_ reverseproxy.Selector = (*Sticky)(nil)
	_ balancer              = (*Sticky)(nil)
	_ sticker               = (*Sticky)(nil)
)
