package lbpro

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

func init() { caddy.RegisterModule(new(listSource)) }

// listSource is a dynamic source that reports what the test says at the moment.
type listSource struct{}

var listed struct {
	atomic.Pointer[[]string]
	resets atomic.Int64
}

func (*listSource) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.upstreams.test_list", New: func() caddy.Module { return new(listSource) }}
}

func (*listSource) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { d.Next(); return nil }

func (*listSource) GetUpstreams(*http.Request) ([]*reverseproxy.Upstream, error) {
	var out []*reverseproxy.Upstream
	for _, addr := range *listed.Load() {
		out = append(out, &reverseproxy.Upstream{Dial: addr})
	}
	return out, nil
}

func (*listSource) ResetCache(*http.Request) error {
	listed.resets.Add(1)
	return nil
}

func list(servers ...*server) {
	addrs := []string{}
	for _, s := range servers {
		addrs = append(addrs, s.addr)
	}
	listed.Store(&addrs)
}

func TestDynamicUpstreams(t *testing.T) {
	a, b, c := serve(t, say("a")), serve(t, say("b")), serve(t, say("c"))
	list(a, b)
	s, p := startPool(t, "dynamic test_list\nweight "+c.addr+" 2\nbackup "+b.addr)
	for range 20 {
		s.get("/").want(t, 200, "a") // b is the backup
	}
	list(b, c)
	for range 20 {
		s.get("/").want(t, 200, "c")
	}
	if w := p.Get(c.addr).Base(); w != 2 {
		t.Errorf("weight of a dynamic upstream is %v, want 2", w)
	}
	list()
	r := s.get("/")
	if r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("answer is %d without any upstream, want 503", r.StatusCode)
	}
	list(a)
	s.get("/").want(t, 200, "a")
	idle(t, p)
}

// A source that caches is asked to look again before another attempt.
func TestDynamicSourceIsRenewed(t *testing.T) {
	bad, good := serve(t, reset), serve(t, say("ok"))
	list(bad, good)
	s, _ := startPool(t, inOrder+"dynamic test_list")
	listed.resets.Store(0)
	s.get("/").want(t, 200, "ok")
	if n := listed.resets.Load(); n != 1 {
		t.Errorf("the source was renewed %d times, want once", n)
	}
}

// Upstreams that come and go under load lose no request and leave nothing behind.
func TestDynamicUpstreamsUnderLoad(t *testing.T) {
	var all []*server
	for range 6 {
		all = append(all, serve(t, say("ok")))
	}
	list(all[0], all[1])
	s, p := startPool(t, "dynamic test_list")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if r, err := fetch(s.request(http.MethodGet, "/", nil)); err != nil || r.StatusCode != 200 {
					t.Errorf("%v %v", r.Response, err)
					return
				}
			}
		})
	}
	for i := range 60 {
		from := i % len(all)
		list(all[from], all[(from+1)%len(all)], all[(from+2)%len(all)])
		seen := attempts(p)
		eventually(t, "requests go on", func() bool { return attempts(p) > seen+5 })
	}
	close(stop)
	wg.Wait()
	idle(t, p)
	// Gone for longer than a source may be silent about them, they leave the pool.
	sharedNamed(t, "t").expire(clock() + 2*dynamicIdle)
	if n := len(p.Backends()); n != 0 {
		t.Errorf("%d backends stay in the pool long after the source last named them", n)
	}
	list(all[0])
	s.get("/").want(t, 200, "ok")
	if n := len(p.Backends()); n != 1 {
		t.Errorf("%d backends are in the pool, want the one that is named", n)
	}
}

func TestPlaceholderUpstream(t *testing.T) {
	a := serve(t, say("a"))
	s := startSite(t, "lbpro {header.X-To} {\npool t\n}")
	req := s.request(http.MethodGet, "/", nil)
	req.Header.Set("X-To", a.addr)
	s.send(req).want(t, 200, "a")
	if n := len(poolNamed(t, "t").Backends()); n != 1 {
		t.Errorf("%d backends, want one for the placeholder", n)
	}
}

func TestDuplicateUpstreams(t *testing.T) {
	a, b := serve(t, say("ok")), serve(t, say("ok"))
	s, p := startPool(t, "policy random", a, a, b, a)
	for range 40 {
		s.get("/").want(t, 200, "ok")
	}
	if n := len(p.Backends()); n != 2 {
		t.Errorf("%d backends, want 2: a duplicate is the same backend", n)
	}
	idle(t, p)
	a.turn(reset)
	for range 20 {
		s.get("/").want(t, 200, "ok")
	}
}

func TestNoUpstreams(t *testing.T) {
	s := startSite(t, "lbpro {\npool t\n}")
	if r := s.get("/"); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("answer is %d without any upstream, want 503", r.StatusCode)
	}
}

// Every policy, ours and Caddy's, works in a pool of one, of two, and when all are full.
func TestPoliciesInSmallPools(t *testing.T) {
	options := map[string]string{
		"weighted_round_robin": "weighted_round_robin 1", "random_choose": "random_choose 2", "query": "query q", "header": "header X",
		"bounded_hash": "bounded_hash {path}", "maglev": "maglev {path}",
	}
	a, b := serve(t, say("ok")), serve(t, say("ok"))
	for _, name := range policyNames() {
		name, ours := strings.CutPrefix(name, "lbpro.")
		if strings.Contains(name, "test") {
			continue
		}
		t.Run(fmt.Sprint(name, ours), func(t *testing.T) {
			line := name
			if v, ok := options[name]; ok {
				line = v
			}
			s, p := startPool(t, "policy "+line, a)
			s.get("/").want(t, 200, "ok")
			if name == "weighted_round_robin" {
				line += " 1"
			}
			s, _ = startPool(t, "limit 1\npolicy "+line, a, b)
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if r, err := fetch(s.request(http.MethodGet, "/?q=1", nil)); err != nil || r.StatusCode != 200 {
						t.Errorf("%v %v", r.Response, err)
					}
				})
			}
			wg.Wait()
			idle(t, p)
		})
	}
}
