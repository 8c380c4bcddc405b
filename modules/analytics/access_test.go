package analytics

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"golang.org/x/crypto/bcrypt"
)

// apiHost asks under another name.
func apiHost(name string) func(*http.Request) {
	return func(r *http.Request) { r.Host = name }
}

func apiHeader(pairs ...string) func(*http.Request) {
	return func(r *http.Request) {
		for i := 0; i < len(pairs); i += 2 {
			r.Header.Add(pairs[i], pairs[i+1])
		}
	}
}

// A site does not open by itself.
func TestAccessProvision(t *testing.T) {
	for _, tt := range []struct{ block, want string }{
		{"", ""},
		{"allow private_ranges 203.0.113.7 2001:db8::/32", ""},
		{"authenticated", ""},
		{"authenticated elsewhere", ""},
		{"insecure_public", ""},
		{"hosts Stats.Example.com. *", ""},
		{"allow 0.0.0.0/0", "insecure_public"},
		{"allow ::/0", "insecure_public"},
		{"allow 0.0.0.0/1 128.0.0.0/1", "insecure_public"},
		{"allow everyone", `"everyone"`},
		{"allow {env.NOTHING_IS_SET_HERE}", "no addresses"},
		{"allow 10.0.0.0/8\nauthenticated", "exclude one another"},
		{"allow 10.0.0.0/8\ninsecure_public", "exclude one another"},
		{"authenticated maybe", "elsewhere"},
		{"authenticated\nauthenticated", "already"},
		{"hosts a/b", "hosts"},
		{"hosts", "argument"},
		{"allow", "argument"},
		{"insecure_public yes", "argument"},
		{"public", "insecure_public"},
	} {
		s := new(SiteAPI)
		err := s.UnmarshalCaddyfile(caddyfile.NewTestDispenser("analytics_api {\n" + tt.block + "\n}"))
		if err == nil {
			err = s.access.provision()
		}
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%q: %v", tt.block, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%q: error %v, want one with %q", tt.block, err, tt.want)
		}
	}
}

// Who is answered, in a real Caddy.
func TestAccessAdmits(t *testing.T) {
	const path = "/api/v1/query?query=1"
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	fine := func(*http.Request) {}
	type try struct {
		name   string
		change func(*http.Request)
		status int
	}
	for _, tt := range []struct {
		name, global, directives string
		tries                    []try
	}{
		{"by default", "", "analytics_api", []try{
			{"on loopback", fine, 200},
			{"as localhost", apiHost("localhost:1"), 200},
			{"as IPv6", apiHost("[::1]:80"), 200},
			{"by a machine's name", apiHost("caddy"), 200},
			{"by a local name", apiHost("stats.corp.internal"), 200},
			{"by a name that somebody may own", apiHost("evil.example.com"), 421},
			{"for a private client", apiHeader("X-Forwarded-For", "10.1.2.3"), 200},
			{"for a public client", apiHeader("X-Forwarded-For", "203.0.113.9"), 403},
			{"for one behind another", apiHeader("X-Forwarded-For", "10.0.0.1, 203.0.113.9", "X-Forwarded-For", "10.0.0.2"), 403},
			{"by Forwarded", apiHeader("Forwarded", `proto=https;for="[2001:db8::1]:99"`), 403},
			{"by Forwarded, hidden", apiHeader("Forwarded", "for=_hidden"), 403},
			{"by X-Real-IP", apiHeader("X-Real-IP", "203.0.113.9"), 403},
			{"mapped into IPv6", apiHeader("X-Forwarded-For", "::ffff:10.0.0.1"), 200},
			{"from another site's page", apiHeader("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"), 403},
			{"from another site's form", apiHeader("Origin", "https://evil.example.com"), 403},
			{"from a sandbox", apiHeader("Origin", "null"), 403},
			{"by a link", apiHeader("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"), 200},
			{"from its own page", apiHeader("Sec-Fetch-Site", "same-origin"), 200},
		}},
		{"mapped", "", "analytics_api {\n\tallow ::ffff:127.0.0.0/104\n}", []try{{"on loopback", fine, 200}}},
		{"in a part of a site", "", "handle_path /lb/* {\n\tanalytics_api\n}", []try{{"elsewhere", func(r *http.Request) { r.URL.Path = "/lb" + r.URL.Path }, 200}}},
		{"narrow", "", "analytics_api {\n\tallow 10.9.0.0/16\n}", []try{
			{"on loopback", fine, 403},
			{"with a forged address", apiHeader("X-Forwarded-For", "10.9.0.1"), 403},
		}},
		{"behind a trusted proxy", "servers {\n\ttrusted_proxies static 127.0.0.1/32\n}", "analytics_api {\n\tallow 203.0.113.0/24\n}", []try{
			{"for an allowed client", apiHeader("X-Forwarded-For", "203.0.113.9"), 200},
			{"for another", apiHeader("X-Forwarded-For", "198.51.100.1"), 403},
			{"for itself", fine, 403},
		}},
		{"public", "", "analytics_api {\n\tinsecure_public\n}", []try{
			{"a public client", apiHeader("X-Forwarded-For", "203.0.113.9"), 200},
			{"any name", apiHost("stats.example.com"), 200},
			{"from another site's page", apiHeader("Sec-Fetch-Site", "cross-site"), 403},
		}},
		{"named", "", "analytics_api {\n\thosts stats.example.com\n}", []try{
			{"by its name", apiHost("STATS.example.com.:8080"), 200},
			{"by another", apiHost("localhost"), 421},
		}},
		{"authenticated", "", "analytics_api {\n\tauthenticated\n}\nbasic_auth {\n\tann " + string(hash) + "\n}", []try{
			{"without a password", fine, 401},
			{"with one", func(r *http.Request) { r.SetBasicAuth("ann", "secret") }, 200},
		}},
		{"authenticated by nobody", "", "analytics_api {\n\tauthenticated\n}", []try{{"anyone", fine, 403}}},
		{"authenticated elsewhere", "", "analytics_api {\n\tauthenticated elsewhere\n}", []try{{"anyone", fine, 200}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withApps(t, map[string]any{"analytics": &fakeEngine{store: newTestStore(t)}})
			c := startAPICaddy(t, tt.global, tt.directives)
			for _, try := range tt.tries {
				r := c.ask("GET", c.site+path, "", try.change)
				if r.StatusCode != try.status {
					t.Errorf("%s: status %d, want %d: %s", try.name, r.StatusCode, try.status, r.body)
				}
				if r.StatusCode == 401 {
					continue
				}
				if got := r.Header.Get("X-Content-Type-Options"); got != "nosniff" {
					t.Errorf("%s: X-Content-Type-Options is %q", try.name, got)
				}
				if r.StatusCode >= 400 {
					r.mentions(t)
				}
			}
		})
	}
}

// What a client sends is no way in, whatever it looks like.
func TestAccessAddresses(t *testing.T) {
	for s, want := range map[string]bool{
		"127.0.0.1:80": true, "[::1]:80": true, "::1": true, "fe80::1%eth0": true, "::ffff:192.168.0.1": true, "172.31.255.255": true,
		"172.32.0.0": false, "8.8.8.8": false, "": false, "localhost": false, "10.0.0.1.evil.com": false, "unknown": false,
		"0.0.0.0": false, "64:ff9b::a00:1": false, "2001:db8::1": false, "::ffff:8.8.8.8": false, "10.0.0.1, 8.8.8.8": false,
	} {
		var rule access
		if err := rule.provision(); err != nil {
			t.Fatal(err)
		}
		a, ok := parseAddr(s)
		if got := ok && rule.has(a); got != want {
			t.Errorf("%q is let in: %v, want %v", s, got, want)
		}
	}
}
