package lbpro

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// stored makes Caddy's default storage one of the test's own.
func stored(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	before := caddy.DefaultStorage
	caddy.DefaultStorage = &certmagic.FileStorage{Path: dir}
	t.Cleanup(func() { caddy.DefaultStorage = before })
	return dir
}

// setCookies returns the cookies of an answer by name.
func setCookies(r reply) map[string]*http.Cookie {
	m := make(map[string]*http.Cookie)
	for _, c := range r.Cookies() {
		m[c.Name] = c
	}
	return m
}

// as sends a request with a cookie.
func (s *site) as(c *http.Cookie) reply {
	s.t.Helper()
	req := s.request(http.MethodGet, "/", nil)
	req.AddCookie(c)
	return s.send(req)
}

// stickySites starts a site with a sticky policy in each of the two handlers.
func stickySites(t *testing.T, options string, f func(t *testing.T, s *site, servers []*server)) {
	for _, handler := range []string{"lbpro", "reverse_proxy"} {
		t.Run(handler, func(t *testing.T) {
			stored(t)
			servers := three(t)
			s := startSite(t, fmt.Sprintf("%s %s %s %s {\n\tlb_policy lbpro.sticky %s\n}",
				handler, servers[0].addr, servers[1].addr, servers[2].addr, options))
			f(t, s, servers)
		})
	}
}

func TestStickyClientsComeBack(t *testing.T) {
	stickySites(t, "", func(t *testing.T, s *site, servers []*server) {
		used := make(map[string]bool)
		for range 30 {
			first := s.get("/")
			c := setCookies(first)["lb"]
			if c == nil {
				t.Fatal("no cookie is set")
			}
			used[first.body] = true
			for range 5 {
				again := s.as(c)
				again.want(t, http.StatusOK, first.body)
				if setCookies(again)["lb"] != nil {
					t.Error("the cookie is set again although the client has it")
				}
			}
		}
		if len(used) < 2 {
			t.Error("all clients went to one backend")
		}
	})
}

func TestStickyCookieTellsNothing(t *testing.T) {
	stickySites(t, "", func(t *testing.T, s *site, servers []*server) {
		c := setCookies(s.get("/"))["lb"]
		raw, err := base64.RawURLEncoding.DecodeString(c.Value)
		if err != nil || len(raw) != tokenBytes {
			t.Fatalf("value %q: %v", c.Value, err)
		}
		for _, b := range servers {
			if strings.Contains(c.Value, b.addr) || strings.Contains(string(raw), b.addr) {
				t.Errorf("the cookie holds the address %s", b.addr)
			}
		}
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Secure || c.MaxAge != 0 || c.Domain != "" {
			t.Errorf("attributes: %s", c.Raw)
		}
	})
}

func TestStickyMovesOnWhenItsBackendCannot(t *testing.T) {
	stickySites(t, "{\n}\n\tlb_retries 2", func(t *testing.T, s *site, servers []*server) {
		first := s.get("/")
		c := setCookies(first)["lb"]
		servers[first.body[0]-'0'].Close()
		r := s.as(c)
		if r.StatusCode != http.StatusOK || r.body == first.body {
			t.Fatalf("answer is %d %q", r.StatusCode, r.body)
		}
		if n := len(r.Header.Values("Set-Cookie")); n != 1 {
			t.Fatalf("%d cookies are set, want one, for the backend that answered", n)
		}
		s.as(setCookies(r)["lb"]).want(t, http.StatusOK, r.body)
	})
}

// What is not a cookie of ours is as good as none.
func TestStickyIgnoresForgeries(t *testing.T) {
	stickySites(t, "", func(t *testing.T, s *site, servers []*server) {
		real := setCookies(s.get("/"))["lb"].Value
		flipped := "A" + real[1:]
		if flipped == real {
			flipped = "B" + real[1:]
		}
		for _, v := range []string{"", "x", servers[0].addr, flipped, real + real, strings.Repeat("A", tokenLength), strings.Repeat("z", 4000)} {
			r := s.as(&http.Cookie{Name: "lb", Value: v})
			if r.StatusCode != http.StatusOK || setCookies(r)["lb"] == nil {
				t.Errorf("%.30q: status %d, cookie %v", v, r.StatusCode, setCookies(r)["lb"])
			}
		}
	})
}

func TestStickyAttributes(t *testing.T) {
	options := "shop {\n path /shop\n domain example.com\n max_age 1h\n same_site none\n secure on\n secret 0123456789abcdef\n}"
	stickySites(t, options, func(t *testing.T, s *site, _ []*server) {
		c := setCookies(s.get("/"))["shop"]
		if c == nil || c.Path != "/shop" || c.Domain != "example.com" || c.MaxAge != 3600 ||
			c.SameSite != http.SameSiteNoneMode || !c.Secure || !c.HttpOnly {
			t.Errorf("cookie: %+v", c)
		}
	})
}

func TestStickySecureFollowsTheConnection(t *testing.T) {
	p := &Sticky{Cookie: "lb", Path: "/", SameSite: "lax", Secure: "auto"}
	p.signer.key = []byte("0123456789abcdef")
	b := balance.NewPool("", balance.DefaultOptions()).Join("a:80", 0)
	secure := func(change func(r *http.Request), trusted bool) bool {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.TrustedProxyVarKey: trusted}))
		change(r)
		w := httptest.NewRecorder()
		p.Stick(w, r, b)
		return w.Result().Cookies()[0].Secure
	}
	says := func(values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header["X-Forwarded-Proto"] = values }
	}
	for _, x := range []struct {
		name    string
		change  func(*http.Request)
		trusted bool
		want    bool
	}{
		{"plain", func(*http.Request) {}, false, false},
		{"TLS", func(r *http.Request) { r.TLS = new(tls.ConnectionState) }, false, true},
		{"a trusted proxy says https", says("https"), true, true},
		{"anybody says https", says("https"), false, false},
		{"a trusted proxy says http after a client's https", says("https, http"), true, false},
		{"in two lines", says("http", "https"), true, true},
	} {
		if got := secure(x.change, x.trusted); got != x.want {
			t.Errorf("%s: secure is %v", x.name, got)
		}
	}
}

// The key is made at first use, kept for nobody else to read, and outlives a reload.
func TestStickyKeyIsKept(t *testing.T) {
	dir := stored(t)
	servers := three(t)
	directives := fmt.Sprintf("lbpro %s %s %s {\n\tpolicy sticky\n}", servers[0].addr, servers[1].addr, servers[2].addr)
	file := filepath.Join(dir, "lbpro", "sticky.key")
	if err := caddy.Validate(configOf(t, directives)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("validating left a key behind: %v", err)
	}
	s := startSite(t, directives)
	first := s.get("/")
	c := setCookies(first)["lb"]
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || info.Size() != stickyKeyBytes {
		t.Errorf("the key's file has mode %v and %d bytes", info.Mode(), info.Size())
	}
	if err := caddy.Load(adapt(t, config(s.addr, directives)), true); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		s.as(c).want(t, http.StatusOK, first.body)
	}
	// Another key: the cookie is nobody's.
	if err := os.WriteFile(file, make([]byte, stickyKeyBytes), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(adapt(t, config(s.addr, directives)), true); err != nil {
		t.Fatal(err)
	}
	if setCookies(s.as(c))["lb"] == nil {
		t.Error("a cookie of another key is taken for ours")
	}
}

// Storage that does not work costs stickiness over reloads, not requests.
func TestStickyWithoutStorage(t *testing.T) {
	dir := stored(t)
	if err := os.WriteFile(filepath.Join(dir, "lbpro"), nil, 0o600); err != nil { // in the folder's place
		t.Fatal(err)
	}
	servers := three(t)
	s := startSite(t, fmt.Sprintf("lbpro %s %s %s {\n\tpolicy sticky\n}", servers[0].addr, servers[1].addr, servers[2].addr))
	first := s.get("/")
	for range 5 {
		s.as(setCookies(first)["lb"]).want(t, http.StatusOK, first.body)
	}
}

// A draining backend keeps its clients until the deadline, and takes no new ones.
func TestStickyWhileDraining(t *testing.T) {
	stored(t)
	servers := three(t)
	s, pool := startPool(t, "policy sticky", servers...)
	first := s.get("/")
	c := setCookies(first)["lb"]
	b := pool.Get(servers[first.body[0]-'0'].addr)
	b.Drain(clock()+time.Hour, "test", clock())
	for range 20 {
		if r := s.get("/"); r.body == first.body {
			t.Fatal("a new client went to the draining backend")
		}
	}
	s.as(c).want(t, http.StatusOK, first.body)
	b.Drain(clock(), "the deadline has come", clock())
	if r := s.as(c); r.StatusCode != http.StatusOK || r.body == first.body || setCookies(r)["lb"] == nil {
		t.Errorf("after the deadline: %d %q", r.StatusCode, r.body)
	}
}

// FuzzStickyCookie gives the policy Cookie headers as clients may send them. Whatever they
// hold, they lead to the backend of a true cookie in them or to none.
func FuzzStickyCookie(f *testing.F) {
	pool := balance.NewPool("", balance.DefaultOptions())
	for i := range 4 {
		pool.Join(fmt.Sprintf("10.0.0.%d:80", i), 0)
	}
	list := pool.Backends()
	p := &Sticky{Cookie: "lb", Path: "/", SameSite: "lax", Secure: "auto"}
	p.signer.key = []byte("0123456789abcdef")
	for _, b := range list {
		f.Add("lb=" + p.signer.token(b.ID))
	}
	f.Add("lb=x; lb=" + p.signer.token(list[2].ID))
	f.Add("")
	f.Add(`lb="` + p.signer.token(list[1].ID) + `"`)
	f.Add("lb=" + strings.Repeat("A", 1<<12))
	f.Add("a=b;;lb;=lb=;lb==")
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Cookie"] = []string{header}
		i := p.Stuck(r, list)
		if i >= len(list) {
			t.Fatalf("backend %d of %d", i, len(list))
		}
		if i >= 0 && !strings.Contains(header, p.signer.token(list[i].ID)) {
			t.Fatalf("%q leads to backend %d without its cookie", header, i)
		}
		w := httptest.NewRecorder()
		p.Stick(w, r, list[0])
		set := w.Header().Values("Set-Cookie")
		switch {
		case len(set) > 1:
			t.Fatalf("%d cookies are set", len(set))
		case len(set) == 1 && !strings.HasPrefix(set[0], "lb="+p.signer.token(list[0].ID)+";"):
			t.Fatalf("cookie %q", set[0])
		}
	})
}
