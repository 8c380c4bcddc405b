package analytics

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// access says who may see the analytics on a site. What backends there are, how they do
// and which addresses talk to one another is nothing for the world to read, so that a
// site is open only when that is written down.
type access struct {
	// Which clients are answered: `private_ranges`, which includes loopback, IP addresses
	// and CIDR ranges. Default: `private_ranges`. A request that came through a proxy is
	// judged by the client that `trusted_proxies` of the server gives; if the proxy is not
	// trusted, every address that the request names must be allowed too.
	Allow []string `json:"allow,omitempty"`
	// Any client that has been authenticated is answered. `checked` demands that a handler such as
	// `basic_auth` has set the user ({http.auth.user.id}), or that the client has shown a TLS
	// certificate which was verified; `elsewhere` takes the word of the configuration that
	// something before this handler, such as `forward_auth`, admits nobody else.
	Authenticated string `json:"authenticated,omitempty"`
	// Anyone is answered. Default: false.
	InsecurePublic bool `json:"insecure_public,omitempty"`
	// Under which host names the site may be asked; `*` for any. It keeps pages of other
	// sites from reading this one through a name of theirs that leads here (DNS rebinding).
	// Default: IP addresses, names without a dot, and names below localhost, local, internal,
	// lan and home.arpa; any name, if clients are authenticated or anyone is answered.
	Hosts []string `json:"hosts,omitempty"`

	prefixes []netip.Prefix
}

const (
	authenticatedHere      = "checked"
	authenticatedElsewhere = "elsewhere"
	privateRanges          = "private_ranges"
)

// privatePrefixes are loopback and private addresses, and those of one link.
var privatePrefixes = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
}

func (a *access) provision() error {
	ways := 0
	for _, given := range []bool{len(a.Allow) > 0, a.Authenticated != "", a.InsecurePublic} {
		if given {
			ways++
		}
	}
	if ways > 1 {
		return errors.New("allow, authenticated and insecure_public exclude one another: keep one of them")
	}
	switch a.Authenticated {
	case "", authenticatedHere, authenticatedElsewhere:
	default:
		return fmt.Errorf("authenticated is %q: it must be %q or %q", a.Authenticated, authenticatedHere, authenticatedElsewhere)
	}
	if ways == 0 {
		a.Allow = []string{privateRanges}
	}
	repl := caddy.NewReplacer()
	for _, given := range a.Allow {
		// A value may be a list, as it can come from the environment.
		for _, s := range strings.Fields(repl.ReplaceAll(given, "")) {
			if err := a.allow(s); err != nil {
				return err
			}
		}
	}
	if len(a.Allow) > 0 && len(a.prefixes) == 0 {
		return errors.New("allow has no addresses: name some, or leave it out for private_ranges")
	}
	if a.openToAll() {
		return errors.New("allow lets anyone read this: narrow the ranges, or write insecure_public if that is meant")
	}
	for i, h := range a.Hosts {
		h = strings.ToLower(strings.TrimSuffix(repl.ReplaceAll(h, ""), "."))
		if h == "" || strings.ContainsAny(h, "/ ") {
			return fmt.Errorf("hosts has %q: it must be a name such as stats.example.com, or *", a.Hosts[i])
		}
		a.Hosts[i] = h
	}
	return nil
}

func (a *access) allow(s string) error {
	if s == privateRanges {
		a.prefixes = append(a.prefixes, privatePrefixes...)
		return nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		var addr netip.Addr
		if addr, err = netip.ParseAddr(s); err == nil {
			addr = addr.Unmap().WithZone("")
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
	}
	if err != nil {
		return fmt.Errorf("allow has %q: it must be %s, an IP address or a range such as 10.0.0.0/8", s, privateRanges)
	}
	if addr := p.Addr(); addr.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(addr.Unmap(), p.Bits()-96) // as the addresses that are compared with it
	}
	a.prefixes = append(a.prefixes, p.Masked())
	return nil
}

// openToAll reports whether the ranges come to all addresses of a kind, whole or in
// parts: what is left out of a few very wide ones is no limit that anyone means.
func (a *access) openToAll() bool {
	const wide = 3 // bits of the narrowest that counts as very wide
	var v4, v6 float64
	for _, p := range a.prefixes {
		if p.Bits() > wide {
			continue
		}
		if p.Addr().Is4() {
			v4 += 1 / float64(int(1)<<p.Bits())
		} else {
			v6 += 1 / float64(int(1)<<p.Bits())
		}
	}
	return v4 >= 0.5 || v6 >= 0.5
}

// admit reports whether a request may be answered; the error says why not.
func (a *access) admit(r *http.Request) error {
	if err := a.admitHost(r.Host); err != nil {
		return err
	}
	if err := admitOrigin(r); err != nil {
		return err
	}
	switch {
	case a.InsecurePublic, a.Authenticated == authenticatedElsewhere:
		return nil
	case a.Authenticated == authenticatedHere:
		return admitUser(r)
	}
	return a.admitClient(r)
}

func (a *access) unmarshal(d *caddyfile.Dispenser) error {
	for d.NextBlock(0) {
		switch name := d.Val(); name {
		case "allow":
			args := d.RemainingArgs()
			if len(args) == 0 {
				return d.ArgErr()
			}
			a.Allow = append(a.Allow, args...)
		case "authenticated":
			if a.Authenticated != "" {
				return d.Err("authenticated is given already")
			}
			a.Authenticated = authenticatedHere
			if d.NextArg() {
				if a.Authenticated = d.Val(); a.Authenticated != authenticatedElsewhere {
					return d.Errf("authenticated is %q: it takes nothing, or elsewhere", a.Authenticated)
				}
			}
			if d.NextArg() {
				return d.ArgErr()
			}
		case "insecure_public":
			if d.NextArg() {
				return d.ArgErr()
			}
			a.InsecurePublic = true
		case "hosts":
			args := d.RemainingArgs()
			if len(args) == 0 {
				return d.ArgErr()
			}
			a.Hosts = append(a.Hosts, args...)
		default:
			return d.Errf("unrecognized subdirective %q; there are allow, authenticated, insecure_public and hosts", name)
		}
	}
	return nil
}
