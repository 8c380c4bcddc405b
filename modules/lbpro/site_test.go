package lbpro

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// patience bounds how long a test waits for a condition. It is generous: reaching it is a
// failure, never a measurement.
const patience = 20 * time.Second

// site is Caddy itself, in this process, with one server.
type site struct {
	t    testing.TB
	addr string
	URL  string
}

// config returns a whole Caddyfile around the directives of a site at addr.
func config(addr, directives string) string {
	_, port, _ := net.SplitHostPort(addr)
	return fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	grace_period 5s
	log {
		output discard
	}
	servers {
		protocols h1 h2 h2c
	}
}
http://:%s {
	bind 127.0.0.1
	%s
}
`, port, directives)
}

// adapt turns a Caddyfile into JSON.
func adapt(t testing.TB, text string) []byte {
	t.Helper()
	out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatalf("adapting: %v\n%s", err, text)
	}
	return out
}

// startSite runs Caddy with the directives until the test ends. Caddy is one per process,
// so tests that use it do not run in parallel.
func startSite(t testing.TB, directives string) *site {
	t.Helper()
	s := &site{t: t, addr: freeAddr(t)}
	s.URL = "http://" + s.addr
	if err := caddy.Load(adapt(t, config(s.addr, directives)), true); err != nil {
		t.Fatalf("starting Caddy: %v", err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	return s
}

// startPool is startSite with one lbpro over the servers, in a pool that is called "t".
func startPool(t testing.TB, options string, servers ...*server) (*site, *balance.Pool) {
	t.Helper()
	addrs := make([]string, len(servers))
	for i, s := range servers {
		addrs[i] = s.addr
	}
	s := startSite(t, fmt.Sprintf("lbpro %s {\n\tpool t\n\t%s\n}", strings.Join(addrs, " "), options))
	return s, poolNamed(t, "t")
}

// poolNamed returns a pool of the running configuration.
func poolNamed(t testing.TB, name string) *balance.Pool {
	t.Helper()
	return sharedNamed(t, name).Pool
}

func sharedNamed(t testing.TB, name string) *sharedPool {
	t.Helper()
	var found *sharedPool
	pools.Range(func(key, value any) bool {
		if key == name {
			found = value.(*sharedPool)
		}
		return found == nil
	})
	if found == nil {
		t.Fatalf("there is no pool %q", name)
	}
	return found
}

// freeAddr returns an address of loopback on which nobody listens, below the range from
// which outgoing connections take theirs.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		ln, err := net.Listen("tcp", addr)
		if err == nil {
			ln.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

// server is a backend.
type server struct {
	*httptest.Server
	addr string
	hits atomic.Int64 // requests that reached it
	do   atomic.Pointer[http.HandlerFunc]
}

// serve starts a backend on a port of its own that answers with h until the test ends.
func serve(t testing.TB, h http.HandlerFunc) *server {
	t.Helper()
	return serveOn(t, freeAddr(t), h)
}

func serveOn(t testing.TB, addr string, h http.HandlerFunc) *server {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: addr}
	s.do.Store(&h)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		(*s.do.Load())(w, r)
	}))
	s.Listener.Close()
	s.Listener = ln
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// turn makes the server answer with h from now on.
func (s *server) turn(h http.HandlerFunc) { s.do.Store(&h) }

// say answers with a text.
func say(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
}

// status answers with a code.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// hang never answers; it ends when its request does.
func hang(_ http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body) // only then does the server notice that the client is gone
	<-r.Context().Done()
}

// reply is an answer that was read to its end.
type reply struct {
	*http.Response
	body string
}

// client makes a connection for each request, so that what a test sees is not a matter of
// which connections are idle.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       patience,
}

// get asks the site for a path.
func (s *site) get(path string) reply {
	s.t.Helper()
	return s.send(s.request(http.MethodGet, path, nil))
}

func (s *site) request(method, path string, body io.Reader) *http.Request {
	s.t.Helper()
	req, err := http.NewRequest(method, s.URL+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return req
}

// send sends the request and reads the answer.
func (s *site) send(req *http.Request) reply {
	s.t.Helper()
	r, err := fetch(req)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// fetch is send for other goroutines than the test's. A GET whose connection came to
// nothing is sent again, as clients do: while Caddy swaps listeners on one port
// (SO_REUSEPORT) the kernel resets connections that the old one has not accepted.
func fetch(req *http.Request) (reply, error) {
	res, err := client.Do(req)
	for n := 0; err != nil && n < 3 && req.Method == http.MethodGet && neverAnswered(err); n++ {
		res, err = client.Do(req)
	}
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return reply{}, fmt.Errorf("reading the answer: %w", err)
	}
	return reply{res, string(body)}, nil
}

// neverAnswered reports whether the connection ended without an answer.
func neverAnswered(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF)
}

// want checks status and body.
func (r reply) want(t testing.TB, code int, body string) {
	t.Helper()
	if r.StatusCode != code || r.body != body {
		t.Fatalf("answer is %d %q, want %d %q", r.StatusCode, r.body, code, body)
	}
}

// eventually waits until the condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// idle waits until nothing is in flight in the pool.
func idle(t testing.TB, p *balance.Pool) {
	t.Helper()
	eventually(t, "the pool is idle", func() bool {
		for _, b := range p.Backends() {
			if b.InFlight() != 0 || b.Waiting() != 0 {
				return false
			}
		}
		return p.Active() == 0 && p.Queue.Len() == 0 && p.Budget.Used() == 0
	})
}

// attempts returns what all backends of the pool were sent.
func attempts(p *balance.Pool) (n int64) {
	for _, b := range p.Backends() {
		n += b.Totals.Requests.Load()
	}
	return n
}
