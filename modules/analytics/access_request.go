package analytics

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// admitClient judges the client by its address.
func (a *access) admitClient(r *http.Request) error {
	remote, ok := parseAddr(r.RemoteAddr)
	if !ok {
		// A Unix socket has no address: who may open it is a matter of its permissions.
		if local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr); local != nil && strings.HasPrefix(local.Network(), "unix") {
			return nil
		}
		return refused("a client without an address")
	}
	client := remote
	if s, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string); s != "" {
		if client, ok = parseAddr(s); !ok {
			return refused("a client without an address")
		}
	}
	if !a.has(client) {
		return refused(client.String())
	}
	if client != remote {
		return nil // the proxy is trusted, and has told who the client is
	}
	// Whoever forwards for others and is not trusted stands in for all of them. Their
	// addresses may be forged, but a forged one can only shut its sender out.
	for _, named := range forwardedFor(r.Header) {
		if addr, ok := parseAddr(named); !ok || !a.has(addr) {
			return apiErrorf(http.StatusForbidden, "this came through a proxy for a client that is not allowed: "+
				"list the proxy in `trusted_proxies` of the server, and the client in `allow`")
		}
	}
	return nil
}

func refused(who string) error {
	return apiErrorf(http.StatusForbidden, "not for %s: list it in `allow` of analytics_api, or have clients authenticated", who)
}

func (a *access) has(addr netip.Addr) bool {
	return slices.ContainsFunc(a.prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// parseAddr takes an address with or without port, brackets and zone. An IPv4 address in
// IPv6 is the IPv4 address.
func parseAddr(s string) (netip.Addr, bool) {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return a.Unmap().WithZone(""), err == nil
}

// forwardedFor returns all addresses for which proxies say they have forwarded.
func forwardedFor(h http.Header) (all []string) {
	for _, line := range h.Values("X-Forwarded-For") {
		for part := range strings.SplitSeq(line, ",") {
			all = append(all, strings.TrimSpace(part))
		}
	}
	all = append(all, h.Values("X-Real-Ip")...)
	for _, line := range h.Values("Forwarded") {
		for element := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == ',' || r == ';' }) {
			if key, value, ok := strings.Cut(element, "="); ok && strings.EqualFold(strings.TrimSpace(key), "for") {
				all = append(all, strings.Trim(strings.TrimSpace(value), `"`))
			}
		}
	}
	return all
}

// admitUser demands that the client has been authenticated.
func admitUser(r *http.Request) error {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return nil
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		if user, _ := repl.GetString("http.auth.user.id"); user != "" {
			return nil
		}
	}
	return apiErrorf(http.StatusForbidden, "nobody has authenticated you: put `basic_auth` before analytics_api, demand TLS client certificates, "+
		"or write `authenticated elsewhere` if something else does it")
}

// localNames are the domains that nobody can register.
var localNames = []string{".localhost", ".local", ".internal", ".lan", ".home.arpa"}

// admitHost judges the name under which the site was asked.
func (a *access) admitHost(host string) error {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if len(a.Hosts) > 0 {
		if slices.Contains(a.Hosts, "*") || slices.Contains(a.Hosts, name) {
			return nil
		}
	} else {
		if a.Authenticated != "" || a.InsecurePublic {
			return nil
		}
		if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil || !strings.Contains(name, ".") ||
			slices.ContainsFunc(localNames, func(end string) bool { return strings.HasSuffix(name, end) }) {
			return nil
		}
	}
	return apiErrorf(http.StatusMisdirectedRequest, "not under the name %.100q: list it in `hosts` of analytics_api if it is yours", name)
}

// admitOrigin refuses what a page of another site has its reader's browser send: questions
// may be costly.
func admitOrigin(r *http.Request) error {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		if r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" && r.Method == http.MethodGet {
			break // a link that somebody followed
		}
		return apiErrorf(http.StatusForbidden, "not for pages of other sites")
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		if u, err := url.Parse(origin); err != nil || !strings.EqualFold(u.Host, r.Host) {
			return apiErrorf(http.StatusForbidden, "not for pages of other sites")
		}
	}
	return nil
}
