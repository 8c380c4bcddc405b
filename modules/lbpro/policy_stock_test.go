package lbpro

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// allPolicies are the policies with whether they need transport lbpro in reverse_proxy.
var allPolicies = map[string]bool{
	"adaptive": true, "peak_ewma": true, "least_time": true, "prequal": true,
	"p2c": false, "least_request": false, "smooth_round_robin": false,
	"bounded_hash": false, "maglev": false, "sticky": false,
}

// three starts three backends that say who they are.
func three(t *testing.T) []*server {
	t.Helper()
	return []*server{serve(t, say("0")), serve(t, say("1")), serve(t, say("2"))}
}

// stockSite starts a site with a stock reverse_proxy over the servers.
func stockSite(t *testing.T, policy, options string, servers ...*server) *site {
	t.Helper()
	addrs := make([]string, len(servers))
	for i, s := range servers {
		addrs[i] = s.addr
	}
	return startSite(t, fmt.Sprintf("reverse_proxy %s {\n\tlb_policy lbpro.%s\n\t%s\n}", strings.Join(addrs, " "), policy, options))
}

func TestEveryPolicyIsRegistered(t *testing.T) {
	found := make(map[string]bool)
	for _, m := range caddy.GetModules(policySpace + "lbpro") {
		found[m.ID.Name()] = true
		if _, ok := allPolicies[m.ID.Name()]; !ok {
			t.Errorf("policy %s is not known to the tests", m.ID.Name())
		}
	}
	for name := range allPolicies {
		if !found[name] {
			t.Errorf("policy %s is not registered", name)
		}
	}
}

func TestPoliciesServe(t *testing.T) {
	for name, feedback := range allPolicies {
		for _, where := range []string{"lbpro", "reverse_proxy", "reverse_proxy with transport"} {
			if where == "reverse_proxy" && feedback {
				continue
			}
			t.Run(name+"/"+where, func(t *testing.T) {
				servers := three(t)
				var s *site
				switch where {
				case "lbpro":
					s, _ = startPool(t, "policy "+name, servers...)
				case "reverse_proxy":
					s = stockSite(t, name, "", servers...)
				default:
					s = stockSite(t, name, "transport lbpro", servers...)
				}
				const n = 60
				for k := range n {
					if r := s.get(fmt.Sprintf("/%d", k)); r.StatusCode != http.StatusOK {
						t.Fatalf("request %d: status %d", k, r.StatusCode)
					}
				}
				total, used := int64(0), 0
				for _, b := range servers {
					if h := b.hits.Load(); h > 0 {
						total += h
						used++
					}
				}
				if total != n {
					t.Errorf("the backends saw %d requests of %d", total, n)
				}
				switch name { // one client is one key
				case "bounded_hash", "maglev":
					if used != 1 {
						t.Errorf("one client's requests went to %d backends", used)
					}
				case "smooth_round_robin":
					for i, b := range servers {
						if b.hits.Load() != n/3 {
							t.Errorf("backend %d got %d of %d", i, b.hits.Load(), n)
						}
					}
				case "p2c", "least_request", "sticky":
					if used != 3 {
						t.Errorf("requests went to %d backends of 3", used)
					}
				}
			})
		}
	}
}

// provisionError loads a configuration and returns why it is refused.
func provisionError(t *testing.T, directives string) string {
	t.Helper()
	err := caddy.Validate(configOf(t, directives))
	if err == nil {
		t.Fatalf("accepted: %s", directives)
	}
	return err.Error()
}

func configOf(t *testing.T, directives string) *caddy.Config {
	t.Helper()
	var c caddy.Config
	if err := caddy.StrictUnmarshalJSON(adapt(t, config(freeAddr(t), directives)), &c); err != nil {
		t.Fatal(err)
	}
	return &c
}

func TestPoliciesSayWhatTheyNeed(t *testing.T) {
	for name, feedback := range allPolicies {
		if !feedback {
			continue
		}
		for _, transport := range []string{"", "transport http"} {
			got := provisionError(t, "reverse_proxy a:80 b:80 {\n\tlb_policy lbpro."+name+"\n\t"+transport+"\n}")
			if !strings.Contains(got, "add `transport lbpro`") {
				t.Errorf("%s: error does not say what to add: %s", name, got)
			}
		}
	}
}

func TestPoliciesRefuseWhatCannotBeMeant(t *testing.T) {
	for text, want := range map[string]string{
		"lbpro a:80 {\n policy adaptive {\n band 1.5\n }\n}":                            "band is 1.5: it is a share",
		"lbpro a:80 {\n policy least_request {\n choices 1\n }\n}":                      "choices is 1: it must be from 2 to 64",
		"lbpro a:80 {\n policy bounded_hash {path} {\n factor 0.9\n }\n}":               "factor is 0.9: it must be at least 1",
		"lbpro a:80 {\n policy bounded_hash path\n}":                                    `key is "path": it has no placeholder`,
		"lbpro a:80 {\n policy maglev {path} {\n table_size 65536\n }\n}":               "table_size is 65536: it must be a prime",
		"lbpro a:80 {\n policy maglev {path} {\n table_size 99999999\n }\n}":            "must be a prime up to 5000011",
		"lbpro a:80 {\n policy p2c {\n weight a:80 2\n }\n}":                            "in `lbpro` weights belong to the handler",
		"reverse_proxy a:80 {\n lb_policy lbpro.p2c {\n weight b:80 2\n }\n}":           `"b:80" is not an upstream`,
		"lbpro a:80 {\n policy sticky {\n same_site loose\n }\n}":                       "must be lax, strict or none",
		"lbpro a:80 {\n policy sticky {\n same_site none\n secure off\n }\n}":           "browsers drop such a cookie",
		"lbpro a:80 {\n policy sticky {\n secure perhaps\n }\n}":                        "must be auto, on or off",
		"lbpro a:80 {\n policy sticky {\n secret short\n }\n}":                          "secret has 5 bytes",
		"lbpro a:80 {\n policy sticky \"a b\"\n}":                                       `cookie "a b"`,
		"lbpro a:80 {\n policy sticky {\n path shop\n }\n}":                             "it must begin with /",
		"lbpro a:80 {\n policy sticky {\n max_age 10ms\n }\n}":                          "it must be at least 1s",
		"lbpro a:80 {\n policy prequal {\n quantile 2\n }\n}":                           "quantile is 2",
		"lbpro a:80 {\n policy prequal {\n probe_uri load\n }\n}":                       "must begin with a slash",
		"lbpro a:80 {\n policy prequal {\n probe_uri /load\n probe_rate 11\n }\n}":      "probe rate is 11",
		"reverse_proxy a:80 {\n lb_policy header X {\n fallback lbpro.peak_ewma\n }\n}": "add `transport lbpro`",
	} {
		if got := provisionError(t, text); !strings.Contains(got, want) {
			t.Errorf("%q:\n%s\nwant it to contain\n%s", text, got, want)
		}
	}
}

// Stock's loop retries; a policy of ours sends no attempt where one has failed.
func TestStockRetriesGoElsewhere(t *testing.T) {
	for name := range allPolicies {
		t.Run(name, func(t *testing.T) {
			good := serve(t, say("good"))
			var dead []*server
			for range 3 {
				s := serve(t, nil)
				s.Close()
				dead = append(dead, s)
			}
			s := stockSite(t, name, "transport lbpro\n\tlb_retries 3\n\tlb_try_interval 1ms", append(dead, good)...)
			for k := range 20 {
				s.get(fmt.Sprintf("/%d", k)).want(t, http.StatusOK, "good")
			}
			idle(t, poolNamed(t, dead[0].addr))
		})
	}
}

// What Caddy's passive health checks rule out gets nothing.
func TestStockPoliciesRespectHealthChecks(t *testing.T) {
	for name := range allPolicies {
		t.Run(name, func(t *testing.T) {
			servers := three(t)
			servers[1].turn(status(http.StatusInternalServerError))
			s := stockSite(t, name, "transport lbpro\n\tfail_duration 1m\n\tmax_fails 1\n\tunhealthy_status 5xx", servers...)
			for k := 0; k < 300 && servers[1].hits.Load() == 0; k++ {
				s.get("/")
			}
			before := servers[1].hits.Load()
			for range 50 {
				if r := s.get("/"); r.StatusCode != http.StatusOK {
					t.Fatalf("status %d although two backends are well", r.StatusCode)
				}
			}
			if n := servers[1].hits.Load() - before; n != 0 {
				t.Errorf("the unhealthy backend got %d requests", n)
			}
		})
	}
}

func TestStockWeights(t *testing.T) {
	for _, transport := range []string{"", "transport lbpro"} {
		servers := three(t)
		s := stockSite(t, fmt.Sprintf("smooth_round_robin {\n\tweight %s 4\n\tweight %s 0\n}", servers[0].addr, servers[2].addr), transport, servers...)
		for range 50 {
			s.get("/")
		}
		for i, want := range []int64{40, 10, 0} {
			if got := servers[i].hits.Load(); got < want-1 || got > want+1 {
				t.Errorf("transport %q: backend %d got %d of 50, want %d", transport, i, got, want)
			}
		}
	}
}

// As the fallback of one of Caddy's policies, in both handlers.
func TestPoliciesAsFallback(t *testing.T) {
	servers := three(t)
	for _, handler := range []string{"reverse_proxy", "lbpro"} {
		s := startSite(t, fmt.Sprintf("%s %s %s %s {\n\tlb_policy header X-Key {\n\t\tfallback lbpro.smooth_round_robin\n\t}\n}",
			handler, servers[0].addr, servers[1].addr, servers[2].addr))
		for _, b := range servers {
			b.hits.Store(0)
		}
		for range 30 {
			s.get("/")
		}
		for i, b := range servers {
			if b.hits.Load() != 10 {
				t.Errorf("%s: backend %d got %d of 30 requests", handler, i, b.hits.Load())
			}
		}
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHashPoliciesGoByTheirKey(t *testing.T) {
	for _, name := range []string{"bounded_hash", "maglev"} {
		for _, handler := range []string{"lbpro", "reverse_proxy"} {
			servers := three(t)
			s := startSite(t, fmt.Sprintf("%s %s %s %s {\n\tlb_policy lbpro.%s {header.X-User}\n}",
				handler, servers[0].addr, servers[1].addr, servers[2].addr, name))
			home := make(map[string]string)
			bodies := make(map[string]bool)
			for k := range 120 {
				user := fmt.Sprintf("user-%d", k%40)
				req := s.request(http.MethodGet, fmt.Sprintf("/%d", k), nil)
				req.Header.Set("X-User", user)
				body := s.send(req).body
				if home[user] != "" && home[user] != body {
					t.Errorf("%s in %s: %s went to %s and to %s", name, handler, user, home[user], body)
				}
				home[user] = body
				bodies[body] = true
			}
			if len(bodies) != 3 {
				t.Errorf("%s in %s: 40 users use %d backends", name, handler, len(bodies))
			}
			nobody := make(map[string]bool)
			for range 60 {
				nobody[s.get("/").body] = true
			}
			if len(nobody) != 3 {
				t.Errorf("%s in %s: requests without the header use %d backends", name, handler, len(nobody))
			}
			if err := caddy.Stop(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Whatever a client does, its place at the backend is given back.
func TestStockFeedbackIsComplete(t *testing.T) {
	b := serve(t, say("ok"))
	s := stockSite(t, "adaptive", "transport lbpro\n\trequest_buffers 1KiB", b)
	pool := poolNamed(t, b.addr)

	s.get("/").want(t, http.StatusOK, "ok")
	idle(t, pool)
	if n := pool.Backends()[0].Totals.Requests.Load(); n != 1 {
		t.Errorf("%d requests are counted of 1", n)
	}

	// One that Caddy's proxy turns away after the choice.
	req := s.request(http.MethodPost, "/", strings.NewReader("x"))
	req.Header.Set("Incremental", "?1")
	s.send(req)
	idle(t, pool)

	// One that the client breaks off.
	began := make(chan struct{})
	b.turn(func(w http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := fetch(s.request(http.MethodGet, "/", nil).WithContext(ctx)); err == nil {
			t.Error("a request that was broken off was answered")
		}
	})
	<-began
	eventually(t, "it is in flight", func() bool { return pool.Backends()[0].InFlight() == 1 && pool.Active() == 1 })
	cancel()
	wg.Wait()
	idle(t, pool)

	// An upgraded connection is in flight as long as it is open.
	b.turn(upgrade)
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v %v", res, err)
	}
	eventually(t, "the connection is in flight", func() bool { return pool.Backends()[0].InFlight() == 1 })
	conn.Close()
	idle(t, pool)
}

// upgrade switches protocols and echoes until the connection ends.
func upgrade(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "echo")
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_ = rw.Flush()
	_, _ = io.Copy(conn, rw)
}

// With feedback a slow backend gets less.
func TestStockPoliciesLearn(t *testing.T) {
	for _, name := range []string{"adaptive", "peak_ewma", "least_time"} {
		t.Run(name, func(t *testing.T) {
			servers := three(t)
			servers[2].turn(status(http.StatusInternalServerError))
			s := stockSite(t, name, "transport lbpro", servers...)
			pool := poolNamed(t, servers[0].addr)
			bad := pool.Get(servers[2].addr)
			eventually(t, "its failures are known", func() bool {
				s.get("/")
				return bad.SuccessRate() < 1
			})
			servers[2].hits.Store(0)
			for range 100 {
				s.get("/")
			}
			if n := servers[2].hits.Load(); n > 15 {
				t.Errorf("the failing backend got %d of 100 requests", n)
			}
		})
	}
}

// A dynamic source makes new upstreams on every call; they are the same backends.
func TestStockDynamicUpstreams(t *testing.T) {
	b := serve(t, say("ok"))
	host, port, _ := net.SplitHostPort(b.addr)
	for _, transport := range []string{"", "transport lbpro"} {
		s := startSite(t, fmt.Sprintf("reverse_proxy {\n\tdynamic a {\n\t\tname %s\n\t\tport %s\n\t\tversions ipv4\n\t}\n\tlb_policy lbpro.p2c\n\t%s\n}", host, port, transport))
		for range 10 {
			s.get("/").want(t, http.StatusOK, "ok")
		}
		if transport != "" {
			pool := poolNamed(t, "dynamic")
			idle(t, pool)
			if n := pool.Backends(); len(n) != 1 || n[0].Totals.Requests.Load() != 10 {
				t.Errorf("10 requests to one address: %d backends", len(n))
			}
		}
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}
