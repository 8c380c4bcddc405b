package flowmaster

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/conninfo"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
	_ "github.com/caddy-lbpro/caddy-lbpro/modules/lbpro"
)

// tally counts what goes through connections, on the other side of what is tested. out is
// what was sent, taken how much of it the other end's kernel said that it has taken: what is
// sent to an end that is closed already nobody gets.
type tally struct{ conns, ended, in, out, taken atomic.Int64 }

type talliedConn struct {
	net.Conn
	t      *tally
	dialed bool
	out    atomic.Int64
	once   sync.Once
}

// Close ends the own side and reads on to the end of the other, which has more to say:
// that a TLS session ends, what HTTP/2 has in its queue.
func (c *talliedConn) Close() error {
	c.once.Do(func() {
		c.CloseWrite()
		c.SetReadDeadline(time.Now().Add(patience))
		io.Copy(io.Discard, struct{ io.Reader }{c})
		c.t.taken.Add(acknowledged(c.Conn.(*net.TCPConn), c.out.Load(), c.dialed))
		c.t.ended.Add(1)
	})
	return c.Conn.Close()
}

// abort ends the connection at once, whatever is on its way.
func (c *talliedConn) abort(reset bool) {
	if reset {
		c.Conn.(*net.TCPConn).SetLinger(0)
	}
	c.Conn.Close()
}

func (c *talliedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.t.in.Add(int64(max(n, 0)))
	return n, err
}

func (c *talliedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.t.out.Add(int64(max(n, 0)))
	c.out.Add(int64(max(n, 0)))
	return n, err
}

func (c *talliedConn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

type talliedListener struct {
	net.Listener
	t *tally
}

func (l talliedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.t.conns.Add(1)
	return &talliedConn{Conn: c, t: l.t}, nil
}

func (t *tally) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	t.conns.Add(1)
	return &talliedConn{Conn: c, t: t, dialed: true}, nil
}

// backend is an HTTP server that tallies its connections. With TLS it offers HTTP/2.
type backend struct {
	addr string
	tally
	server *http.Server
}

func startBackend(t testing.TB, tlsConfig *tls.Config, h http.HandlerFunc) *backend {
	t.Helper()
	return startBackendOf(t, &http.Server{Handler: h, TLSConfig: tlsConfig})
}

func startBackendOf(t testing.TB, server *http.Server) *backend {
	t.Helper()
	ln, err := net.Listen("tcp", freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{addr: ln.Addr().String(), server: server}
	tallied := talliedListener{ln, &b.tally}
	go func() {
		if server.TLSConfig != nil {
			b.server.ServeTLS(tallied, "", "")
			return
		}
		b.server.Serve(tallied)
	}()
	t.Cleanup(func() { b.server.Close() })
	return b
}

// certificate makes a certificate for localhost, as files and ready for use.
func certificate(t testing.TB) (cert, key string, pair tls.Certificate) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	for name, b := range map[string][]byte{cert: certPEM, key: keyPEM} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	return cert, key, pair
}

// proxySite is a Caddyfile with one site that is measured.
func proxySite(addr, scheme, directives string) string {
	host, port, _ := net.SplitHostPort(addr)
	name := host
	if scheme == "https" {
		name = "localhost"
	}
	return fmt.Sprintf(`{
	%s	flowmaster {
		sweep_interval 1s
	}
	servers {
		protocols h1 h2
		listener_wrappers {
			flowmaster web
			tls
		}
	}
}
%s://%s:%s {
	bind %s
	%s
}
`, quiet, scheme, name, port, host, directives)
}

// endpointOf returns the figures of connections with that key.
func endpointOf(t testing.TB, k endpointKey) *endpoint {
	t.Helper()
	p := theProcess()
	if p == nil {
		t.Fatal("nothing is measured")
	}
	p.endpoints.mu.Lock()
	defer p.endpoints.mu.Unlock()
	e := p.endpoints.all[k]
	if e == nil {
		t.Fatalf("%+v is not known; known are %v", k, p.endpoints.all)
	}
	return e
}

func clients() endpointKey { return endpointKey{leg: flow.LegDownstream, server: "web"} }

func endedConns(e *endpoint) (n int64) {
	for i := range e.ended {
		n += int64(e.ended[i].Load())
	}
	return n
}

// exactly waits until all connections of an endpoint have ended, and until the figures are
// what the other side counted, to the octet. What the other side sends to a connection that
// the proxy has closed, the kernel refuses: it was not received, and must not count.
func exactly(t *testing.T, what string, e *endpoint, other *tally) {
	t.Helper()
	eventually(t, what+": the connections have ended", func() bool {
		return e.active.Load() == 0 && endedConns(e) == other.conns.Load() && other.ended.Load() == other.conns.Load()
	})
	want := other.taken.Load
	if conninfo.Supported && e.ended[endedByUs].Load() == 0 {
		want = other.out.Load // nothing can have come too late
	}
	equal := func() bool {
		return int64(e.sent.Load()) == other.in.Load() && int64(e.received.Load()) == want()
	}
	for deadline := time.Now().Add(patience); !equal(); time.Sleep(5 * time.Millisecond) { // for goroutines that have read and not counted yet
		if time.Now().After(deadline) {
			t.Errorf("%s: %d octets sent, the other side received %d; %d received, the other side sent %d, of which %d were taken (%d connections ended by the proxy)",
				what, e.sent.Load(), other.in.Load(), e.received.Load(), other.out.Load(), other.taken.Load(), e.ended[endedByUs].Load())
			return
		}
	}
}

// recorded adds up the flow records of a leg: they must say the same as the counters.
func recorded(t *testing.T, leg flow.Leg, e *endpoint) {
	t.Helper()
	total := runningApp(t).state.monitor.Status().Total.Leg(leg)
	forward, reverse := e.received.Load(), e.sent.Load()
	if leg == flow.LegUpstream {
		forward, reverse = reverse, forward
	}
	if total.Octets != forward || total.ReverseOctets != reverse {
		t.Errorf("%v: records have %d and %d octets, counters %d and %d", leg, total.Octets, total.ReverseOctets, forward, reverse)
	}
}

// What is counted is what clients and backends sent, to the octet, over plain
// connections, TLS and HTTP/2, with connections that serve many requests.
func TestOctetsAreExact(t *testing.T) {
	if !conninfo.Supported {
		t.Log(conninfo.Note)
	}
	cert, key, pair := certificate(t)
	answer := bytes.Repeat([]byte("0123456789"), 10_000)
	handler := func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d\n", n)
		w.Write(answer[:len(answer)/(1+int(n)%3)])
	}
	for _, c := range []struct {
		name, scheme, transport string
		h2, backendTLS          bool
	}{
		{"plain", "http", "", false, false},
		{"plain with timeouts", "http", "transport http {\n\tread_timeout 30s\n\twrite_timeout 30s\n}", false, false},
		{"TLS", "https", "", false, false},
		{"HTTP/2 and TLS on both legs", "https", "transport http {\n\ttls\n\ttls_insecure_skip_verify\n}", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var backendConfig *tls.Config
			if c.backendTLS {
				backendConfig = &tls.Config{Certificates: []tls.Certificate{pair}}
			}
			b := startBackend(t, backendConfig, handler)
			addr := freeAddr(t)
			directives := fmt.Sprintf("lbpro %s {\n\tpool p\n\t%s\n}", b.addr, c.transport)
			if c.scheme == "https" {
				directives = fmt.Sprintf("tls %s %s\n\t%s", cert, key, directives)
			}
			startCaddy(t, proxySite(addr, c.scheme, directives))
			var client tally
			transport := &http.Transport{
				DialContext: client.dial, ForceAttemptHTTP2: c.h2, MaxIdleConnsPerHost: 8,
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"},
			}
			hc := &http.Client{Transport: transport, Timeout: patience}
			url := c.scheme + "://" + addr
			if c.scheme == "https" {
				url = c.scheme + "://localhost:" + addr[strings.LastIndex(addr, ":")+1:]
			}
			var wg sync.WaitGroup
			for worker := range 4 {
				wg.Go(func() {
					for i := range 25 {
						res, err := hc.Post(url, "text/plain", bytes.NewReader(answer[:worker*1000+i]))
						if err != nil {
							t.Error(err)
							return
						}
						_, err = io.Copy(io.Discard, res.Body)
						res.Body.Close()
						if err != nil || res.StatusCode != 200 {
							t.Errorf("status %d: %v", res.StatusCode, err)
						}
						if want := map[bool]int{true: 2, false: 1}[c.h2]; res.ProtoMajor != want {
							t.Errorf("protocol is %s", res.Proto)
						}
					}
				})
			}
			wg.Wait()
			down, up := endpointOf(t, clients()), endpointOf(t, endpointKey{leg: flow.LegUpstream, pool: "p", backend: b.addr})
			// Connections that are open are seen while they are: by the sweep.
			eventually(t, "the sweep sees open connections", func() bool { return down.received.Load() > 0 && up.received.Load() > 0 })
			transport.CloseIdleConnections()
			exactly(t, "clients", down, &client)
			b.server.Close() // which ends all connections to it
			exactly(t, "backend", up, &b.tally)
			recorded(t, flow.LegDownstream, down)
			recorded(t, flow.LegUpstream, up)
		})
	}
}

// Connections that clients or backends tear down count every octet that was sent before.
func TestAbortedConnectionsAreExact(t *testing.T) {
	b := startBackend(t, nil, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		w.Write(make([]byte, 5000))
		w.(http.Flusher).Flush()
		if r.URL.Path == "/backend" {
			panic(http.ErrAbortHandler) // the connection ends after 5,000 of 100,000 octets
		}
		<-r.Context().Done()
	})
	addr := freeAddr(t)
	startCaddy(t, proxySite(addr, "http", fmt.Sprintf("lbpro %s {\n\tpool p\n\tretry off\n\thedge off\n\teject off\n\tflush_interval -1\n}", b.addr)))
	var client tally
	const n = 20
	for i := range n {
		for _, path := range []string{"/client", "/backend"} {
			c, err := client.dial(t.Context(), "tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(patience))
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nX-Padding: %s\r\n\r\n", path, addr, strings.Repeat("x", i))
			if path == "/backend" {
				io.Copy(io.Discard, c) // until it ends
			} else {
				io.ReadFull(c, make([]byte, 5000))
			}
			c.(*talliedConn).abort(path == "/client" && i%2 == 0)
		}
	}
	down, up := endpointOf(t, clients()), endpointOf(t, endpointKey{leg: flow.LegUpstream, pool: "p", backend: b.addr})
	eventually(t, "all connections have ended", func() bool {
		return down.active.Load() == 0 && up.active.Load() == 0 && endedConns(down) == 2*n && endedConns(up) == b.conns.Load()
	})
	for what, c := range map[string]struct {
		got  *atomic.Uint64
		want *atomic.Int64
	}{
		"received from clients":     {&down.received, &client.out},
		"sent to the backend":       {&up.sent, &b.in},
		"received from the backend": {&up.received, &b.out},
	} {
		eventually(t, "octets "+what+" are those that the other side counted", func() bool { return int64(c.got.Load()) == c.want.Load() })
	}
	if conninfo.Supported && down.ended[endedByReset].Load() == 0 {
		t.Error("no connection counts as reset")
	}
	recorded(t, flow.LegDownstream, down)
	recorded(t, flow.LegUpstream, up)
}

// startUpgrader starts a backend that upgrades the connection and goes on with f.
func startUpgrader(t *testing.T, f func(net.Conn, *bufio.ReadWriter)) *backend {
	return startBackend(t, nil, func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		rw.Flush()
		f(conn, rw)
	})
}

// A connection that is upgraded, as for websockets, carries data both ways, and one side
// can end while the other goes on.
func TestUpgradedConnections(t *testing.T) {
	b := startUpgrader(t, func(conn net.Conn, rw *bufio.ReadWriter) {
		line, _ := rw.ReadString('\n')
		fmt.Fprint(rw, line)
		rw.Flush()
	})
	addr := freeAddr(t)
	startCaddy(t, proxySite(addr, "http", fmt.Sprintf("lbpro %s {\n\tpool p\n}", b.addr)))
	var client tally
	c, err := client.dial(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: "+addr+"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answer is %v: %v", res, err)
	}
	fmt.Fprint(c, "hello\n")
	if line, err := r.ReadString('\n'); line != "hello\n" {
		t.Errorf("echo is %q: %v", line, err)
	}
	io.Copy(io.Discard, r)
	c.Close()
	exactly(t, "client", endpointOf(t, clients()), &client)
	exactly(t, "backend", endpointOf(t, endpointKey{leg: flow.LegUpstream, pool: "p", backend: b.addr}), &b.tally)
}

// A file is served, by sendfile where the system has it, and counted.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	data := make([]byte, 2<<20)
	rand.Read(data)
	if err := os.WriteFile(filepath.Join(dir, "f"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	startCaddy(t, proxySite(addr, "http", fmt.Sprintf("root * %s\n\tfile_server", dir)))
	var client tally
	transport := &http.Transport{DialContext: client.dial}
	for range 3 {
		res, err := (&http.Client{Transport: transport, Timeout: patience}).Get("http://" + addr + "/f")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("the file came as %d octets: %v", len(got), err)
		}
	}
	transport.CloseIdleConnections()
	exactly(t, "client", endpointOf(t, clients()), &client)
}

// Stock reverse_proxy is measured through `transport lbpro`; a backend that cannot be
// reached counts, and so does how long connecting takes.
func TestStockProxy(t *testing.T) {
	b := startBackend(t, nil, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	dead := freeAddr(t)
	addr := freeAddr(t)
	startCaddy(t, proxySite(addr, "http", fmt.Sprintf("reverse_proxy /dead %s {\n\ttransport lbpro\n}\n\treverse_proxy %s {\n\ttransport lbpro\n}", dead, b.addr)))
	for path, want := range map[string]int{"/": 200, "/dead": 502} {
		res, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: status %d, want %d", path, res.StatusCode, want)
		}
	}
	good := endpointOf(t, endpointKey{leg: flow.LegUpstream, pool: b.addr, backend: b.addr})
	bad := endpointOf(t, endpointKey{leg: flow.LegUpstream, pool: dead, backend: dead})
	if good.connectFailures.Load() != 0 || bad.connectFailures.Load() == 0 || bad.active.Load() != 0 {
		t.Errorf("failed connects: %d and %d, want none and some", good.connectFailures.Load(), bad.connectFailures.Load())
	}
	b.server.Close()
	exactly(t, "backend", good, &b.tally)
	flows := runningApp(t).state.monitor.Flows(100, func(r *flow.Record) bool { return r.Leg == flow.LegUpstream })
	if len(flows) != 1 {
		t.Fatalf("%d flows to backends, want 1", len(flows))
	}
	v := flows[0].View(theProcess().names)
	if v.Pool != b.addr || v.Backend != b.addr || v.Exactness != "exact" || v.FlowEndReason == "" || v.SourceIPv4Address.String() != "127.0.0.0" {
		t.Errorf("flow is %+v", v)
	}
}

// Flows say what the balancer thinks of the backend.
func TestFlowsCarryBackendState(t *testing.T) {
	b := startBackend(t, nil, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	addr := freeAddr(t)
	startCaddy(t, proxySite(addr, "http", fmt.Sprintf("lbpro %s {\n\tpool p\n}", b.addr)))
	res, err := http.Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	b.server.Close()
	eventually(t, "the flow has ended", func() bool {
		f := runningApp(t).state.monitor.Flows(10, func(r *flow.Record) bool { return r.Leg == flow.LegUpstream && r.FlowEndReason == flow.EndOfFlow })
		return len(f) == 1 && f[0].BackendState == flow.BackendAvailable
	})
}

func insecure() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// A client of an upgraded connection that has said everything ends its side: the backend
// hears the end, and its answer still comes through the proxy, to the last octet.
func TestClientHalfCloses(t *testing.T) {
	answer := bytes.Repeat([]byte("answer"), 50_000)
	b := startUpgrader(t, func(conn net.Conn, rw *bufio.ReadWriter) {
		if said, err := io.ReadAll(rw); err != nil || string(said) != "all" {
			t.Errorf("the backend hears %q: %v", said, err)
		}
		_, _ = conn.Write(answer)
	})
	addr := freeAddr(t)
	startCaddy(t, proxySite(addr, "http", fmt.Sprintf("lbpro %s {\n\tpool p\n}", b.addr)))
	var client tally
	conn, err := client.dial(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := conn.(*talliedConn)
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: "+addr+"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answer is %v: %v", res, err)
	}
	fmt.Fprint(c, "all")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, answer) {
		t.Errorf("%d octets come back, want %d: %v", len(got), len(answer), err)
	}
	c.Close()
	down, up := endpointOf(t, clients()), endpointOf(t, endpointKey{leg: flow.LegUpstream, pool: "p", backend: b.addr})
	exactly(t, "client", down, &client)
	exactly(t, "backend", up, &b.tally)
	recorded(t, flow.LegDownstream, down)
	recorded(t, flow.LegUpstream, up)
}
