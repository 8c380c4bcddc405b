package lbpro

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/goleak"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// reload gives the running Caddy other directives.
func (s *site) reload(directives string) error {
	s.t.Helper()
	return caddy.Load(adapt(s.t, config(s.addr, directives)), true)
}

// insist sends a GET and repeats it when the connection came to nothing: while Caddy swaps
// listeners on one port (SO_REUSEPORT) the kernel resets connections that the old one has
// not accepted yet. Nothing of ours has seen such a request; clients repeat it.
func insist(c *http.Client, url string) (code int, body string, err error) {
	for range 50 {
		var res *http.Response
		if res, err = c.Get(url); err != nil {
			if neverAnswered(err) {
				continue
			}
			return 0, "", err
		}
		var b []byte
		b, err = io.ReadAll(res.Body)
		res.Body.Close()
		return res.StatusCode, string(b), err
	}
	return 0, "", err
}

// No request is lost in 100 reloads under load, and the figures go on.
func TestNoRequestIsLostInReloads(t *testing.T) {
	slow := after(2*time.Millisecond, "ok")
	a, b := serve(t, slow), serve(t, slow)
	block := func(i int) string {
		return fmt.Sprintf("header X-Config %d\nlbpro %s %s {\n\tpool t\n\tlimit %d\n\tweight %s %d\n}", i, a.addr, b.addr, 50+i%3, a.addr, 1+i%2)
	}
	s := startSite(t, block(0))
	p := poolNamed(t, "t")
	keepAlive := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: patience}
	defer keepAlive.CloseIdleConnections()
	stop := make(chan struct{})
	var answered atomic.Int64
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if code, body, err := insist(keepAlive, s.URL); err != nil || code != 200 || body != "ok" {
					t.Errorf("a request was lost: %d %q %v", code, body, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	for i := range 100 {
		before := answered.Load()
		if err := s.reload(block(i + 1)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "requests go on", func() bool { return answered.Load() > before || t.Failed() })
	}
	close(stop)
	wg.Wait()
	if poolNamed(t, "t") != p {
		t.Error("the pool is another one")
	}
	idle(t, p)
	// Every request that came in was sent to a backend and answered. An attempt that
	// meets a connection which the old configuration has just closed is repeated, and one that waits may be hedged.
	var ok, repeats int64
	for _, b := range p.Backends() {
		ok += b.Totals.Codes[2].Load()
		repeats += b.Totals.Retries.Load() + b.Totals.Hedges.Load() + b.Totals.Hedges.Load()
	}
	if sent := attempts(p); sent-ok > repeats || ok < answered.Load() {
		t.Errorf("%d attempts, %d of them good, %d repeats, for %d requests", sent, ok, repeats, answered.Load())
	}
}

// What is known of a backend, and what an operator ordered, survives a reload.
func TestPoolStateSurvivesAReload(t *testing.T) {
	a, b, c := serve(t, say("a")), serve(t, say("b")), serve(t, say("c"))
	block := func(limit int, servers ...*server) string {
		var addrs []string
		for _, s := range servers {
			addrs = append(addrs, s.addr)
		}
		return fmt.Sprintf("lbpro %s {\n\tpool t\n\tlimit %d\n}", strings.Join(addrs, " "), limit)
	}
	s := startSite(t, block(10, a, b))
	p := poolNamed(t, "t")
	for range 20 {
		s.get("/")
	}
	sent := attempts(p)
	p.Get(a.addr).Drain(0, "test", clock())
	if err := s.reload(block(20, a, b, c)); err != nil {
		t.Fatal(err)
	}
	if got := poolNamed(t, "t"); got != p || attempts(p) != sent {
		t.Errorf("%d attempts are known after the reload, want %d", attempts(got), sent)
	}
	if st := p.Get(a.addr).State(); st != balance.Draining {
		t.Errorf("the backend that was drained is %v", st)
	}
	if l := p.Get(b.addr).Limit(); l != 20 {
		t.Errorf("the limit is %d, want the new one", l)
	}
	if p.Get(c.addr) == nil {
		t.Error("the new backend is not in the pool")
	}
	for range 20 {
		if r := s.get("/"); r.body == "a" {
			t.Error("a drained backend got a request after the reload")
		}
	}
	if err := s.reload(block(20, b, c)); err != nil {
		t.Fatal(err)
	}
	if p.Get(a.addr) != nil {
		t.Error("a backend that left the configuration is still in the pool")
	}
	s.get("/")
}

// A request of the old configuration that is tried again after that was cleaned up leaves no
// connection idle behind it.
func TestLateRequestLeavesNoConnection(t *testing.T) {
	var conns atomic.Int64
	var first atomic.Bool
	arrived, fail := make(chan struct{}), make(chan struct{})
	var addrs [2]string
	for i := range addrs {
		b := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !first.CompareAndSwap(true, false) {
				io.WriteString(w, "late")
				return
			}
			arrived <- struct{}{}
			<-fail
			panic(http.ErrAbortHandler)
		}))
		b.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				conns.Add(-1)
			}
		}
		b.Start()
		t.Cleanup(func() {
			b.CloseClientConnections()
			b.Close()
		})
		addrs[i] = b.Listener.Addr().String()
	}
	for _, transport := range []string{"", "transport http", "transport lbpro"} {
		t.Run(transport, func(t *testing.T) {
			site := func(other string) string {
				return fmt.Sprintf("handle /%s {\n\trespond ok\n}\nhandle {\n\tlbpro %s {\n\t\thedge off\n\t\t%s\n\t}\n}", other, strings.Join(addrs[:], " "), transport)
			}
			s := startSite(t, site("a"))
			first.Store(true)
			type answer struct {
				code int
				body string
				err  error
			}
			got := make(chan answer, 1)
			go func() {
				code, body, err := insist(client, s.URL)
				got <- answer{code, body, err}
			}()
			<-arrived
			if err := s.reload(site("b")); err != nil {
				t.Fatal(err)
			}
			fail <- struct{}{}
			if a := <-got; a.err != nil || a.code != 200 || a.body != "late" {
				t.Fatalf("answer is %+v", a)
			}
			eventually(t, "no connection is left", func() bool { return conns.Load() == 0 })
		})
	}
}

// A reload that fails, in provisioning or in starting, changes nothing.
func TestFailedReloadChangesNothing(t *testing.T) {
	a, b := serve(t, say("a")), serve(t, say("b"))
	s := startSite(t, fmt.Sprintf("lbpro %s %s {\n\tpool t\n\tlimit 7\n\tweight %s 3\n\teject {\n\t\tmax_percent 40\n\t}\n}", a.addr, b.addr, a.addr))
	p := poolNamed(t, "t")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	other := func(directives string) string {
		return fmt.Sprintf("lbpro %s 127.0.0.1:9 {\n\tpool t\n\tlimit 1\n\tweight %s 0\n\tbackup %s\n\teject off\n\thedge off\n}\n%s", a.addr, a.addr, a.addr, directives)
	}
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for name, text := range map[string]string{
		"in provisioning": config(s.addr, other("lbpro /x 127.0.0.1:9 {\n\tpool t\n}")),
		"in starting":     config(s.addr, other("")) + "http://:" + port + " {\n\tbind 127.0.0.1\n\trespond ok\n}\n",
	} {
		t.Run(name, func(t *testing.T) {
			for range 4 { // apps start in random order
				if err := caddy.Load(adapt(t, text), true); err == nil {
					t.Fatal("the reload has not failed")
				}
				if got := poolNamed(t, "t"); got != p {
					t.Fatal("the pool is another one")
				}
				if o := p.Options(); o.Eject.Disabled || o.Eject.MaxPercent != 40 || !o.Hedge {
					t.Fatalf("options are %+v", o)
				}
				x := p.Get(a.addr)
				if x.Limit() != 7 || x.Base() != 3 || x.Backup() {
					t.Fatalf("limit %d, weight %v, backup %v; want 7, 3, false", x.Limit(), x.Base(), x.Backup())
				}
				if n := len(p.Backends()); n != 2 {
					t.Fatalf("%d backends, want 2", n)
				}
			}
			seen := a.hits.Load()
			for range 20 {
				if code, _, err := insist(client, s.URL); err != nil || code != 200 {
					t.Fatalf("answer is %d (%v)", code, err)
				}
			}
			if a.hits.Load() == seen {
				t.Error("a backend gets no requests any more")
			}
		})
	}
	// Caddy's own count of hosts is whole as well: the next good reload works.
	if err := s.reload(fmt.Sprintf("lbpro %s %s {\n\tpool t\n\tlimit 8\n}", a.addr, b.addr)); err != nil {
		t.Fatal(err)
	}
	if l := p.Get(a.addr).Limit(); l != 8 {
		t.Errorf("limit is %d after a good reload, want 8", l)
	}
	insist(client, s.URL)
}

// everything is a handler with all that holds something.
const everything = `lbpro 127.0.0.1:9 127.0.0.1:10 {
	pool v
	policy adaptive
	backup 127.0.0.1:10
	health_uri /h
	health_interval 10s
	limit 3
	transport http {
		keepalive 10s
	}
}
lbpro /other 127.0.0.1:9
reverse_proxy /stock 127.0.0.1:9 {
	lb_policy lbpro.adaptive
	transport lbpro
}`

func countPools() (n int) {
	pools.Range(func(any, any) bool { n++; return true })
	return n
}

// sockets counts the open sockets of this process, where that can be seen.
func sockets(t *testing.T) (n int) {
	t.Helper()
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("open files cannot be listed here: %v", err)
	}
	for _, e := range dir {
		if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

func parsed(t *testing.T, text string) *caddy.Config {
	t.Helper()
	cfg := new(caddy.Config)
	if err := json.Unmarshal(adapt(t, text), cfg); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Provisioning a thousand times, as `caddy validate` does, opens no socket and leaves
// neither a goroutine nor a pool.
func TestValidateLeavesNothing(t *testing.T) {
	text := config(freeAddr(t), everything)
	if err := caddy.Validate(parsed(t, text)); err != nil { // what is made once per process
		t.Fatal(err)
	}
	client.CloseIdleConnections()
	known, open, had := goleak.IgnoreCurrent(), sockets(t), countPools()
	n := 1000
	if testing.Short() {
		n = 50
	}
	for range n {
		if err := caddy.Validate(parsed(t, text)); err != nil {
			t.Fatal(err)
		}
	}
	if now := countPools(); now != had {
		t.Errorf("%d pools, there were %d before", now, had)
	}
	// Caddy's active health checks start with Provision; one may still be dialing.
	eventually(t, "the sockets of the health checks to close", func() bool { return sockets(t) <= open })
	if err := goleak.Find(known); err != nil {
		t.Error(err)
	}
}

// The same for configurations that are refused half-way.
func TestRefusedConfigLeavesNothing(t *testing.T) {
	text := config(freeAddr(t), everything+"\nlbpro /bad 127.0.0.1:9 {\n\tpool v\n\teject off\n}")
	caddy.Validate(parsed(t, text))
	known, had := goleak.IgnoreCurrent(), countPools()
	for range 50 {
		if err := caddy.Validate(parsed(t, text)); err == nil || !strings.Contains(err.Error(), `pool "v" is set up differently`) {
			t.Fatalf("error is %v, want one that names the pool", err)
		}
	}
	if now := countPools(); now != had {
		t.Errorf("%d pools, there were %d before", now, had)
	}
	if err := goleak.Find(known); err != nil {
		t.Error(err)
	}
}

// Running and stopping leaves no goroutine of ours either.
func TestStopLeavesNothing(t *testing.T) {
	b := serve(t, say("ok"))
	once := func() {
		s := &site{t: t, addr: freeAddr(t)}
		s.URL = "http://" + s.addr
		if err := s.reload("lbpro " + b.addr); err != nil {
			t.Fatal(err)
		}
		s.get("/").want(t, 200, "ok")
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	once()
	b.CloseClientConnections()
	known, had := goleak.IgnoreCurrent(), countPools()
	for range 10 {
		once()
	}
	if now := countPools(); now != had {
		t.Errorf("%d pools, there were %d before", now, had)
	}
	if err := goleak.Find(known); err != nil {
		t.Error(err)
	}
}
