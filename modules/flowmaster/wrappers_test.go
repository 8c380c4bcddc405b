package flowmaster

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/conninfo"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// wrapped is a Caddyfile with one site behind those listener wrappers.
func wrapped(addr, wrappers, site string) string {
	return fmt.Sprintf("{\n\t%s\tflowmaster {\n\t\tsweep_interval 1s\n\t\tmask 32 128\n\t}\n\tservers {\n\t\tprotocols h1 h2\n\t\tlistener_wrappers {\n\t\t\t%s\n\t\t}\n\t}\n}\n%s\n",
		quiet, strings.ReplaceAll(wrappers, "\n", "\n\t\t\t"), site)
}

// The PROXY protocol works with flowmaster before and behind it, below TLS: requests come
// from whom the header names, octets are exact with the header, and flows are the
// balancer's before it and the client's behind it. A client that holds its header back
// holds up nobody else.
func TestProxyProtocol(t *testing.T) {
	cert, key, _ := certificate(t)
	for name, c := range map[string]struct{ wrappers, peer string }{
		"before": {"flowmaster web\nproxy_protocol {\n\ttimeout 10m\n\tallow 127.0.0.0/8\n}\ntls", "127.0.0.1"},
		"behind": {"proxy_protocol {\n\ttimeout 10m\n\tallow 127.0.0.0/8\n}\nflowmaster web\ntls", "192.0.2.77"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := freeAddr(t)
			_, port, _ := net.SplitHostPort(addr)
			startCaddy(t, wrapped(addr, c.wrappers, fmt.Sprintf("https://localhost:%s {\n\tbind 127.0.0.1\n\ttls %s %s\n\trespond {remote_host}\n}", port, cert, key)))
			var client tally
			// Whoever waits for this one waits longer than the test does.
			silent, err := client.dial(t.Context(), "tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer silent.Close()
			const n = 5
			for range n {
				conn, err := client.dial(t.Context(), "tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				conn.SetDeadline(time.Now().Add(patience))
				fmt.Fprintf(conn, "PROXY TCP4 192.0.2.77 198.51.100.7 5000 443\r\n")
				config := insecure()
				config.ServerName = "localhost"
				secure := tls.Client(conn, config)
				fmt.Fprintf(secure, "GET / HTTP/1.1\r\nHost: localhost:%s\r\nConnection: close\r\n\r\n", port)
				res, err := http.ReadResponse(bufio.NewReader(secure), nil)
				if err != nil {
					t.Fatal(err)
				}
				if body, err := io.ReadAll(res.Body); string(body) != "192.0.2.77" || err != nil {
					t.Errorf("the request came from %q: %v", body, err)
				}
				io.Copy(io.Discard, conn) // to the proxy's end
				conn.Close()
			}
			web := endpointOf(t, clients())
			silent.Close()
			if conninfo.Supported {
				exactly(t, "clients", web, &client)
			}
			recorded(t, flow.LegDownstream, web)
			for _, r := range runningApp(t).state.monitor.Flows(100, nil) {
				if r.SourceAddress.String() != c.peer && r.OctetDeltaCount > 0 {
					t.Errorf("a flow is from %s, want %s", r.SourceAddress, c.peer)
				}
			}
		})
	}
}

// A listener on a Unix socket is counted, and is no flow on any network.
func TestUnixListener(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	startCaddy(t, wrapped("", "flowmaster web\ntls", fmt.Sprintf("http:// {\n\tbind unix/%s\n\trespond ok\n}", socket)))
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	request := "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	fmt.Fprint(conn, request)
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasSuffix(string(answer), "\r\n\r\nok") {
		t.Errorf("answer is %q: %v", answer, err)
	}
	conn.Close()
	web := endpointOf(t, clients())
	eventually(t, "the connection has ended", func() bool { return endedConns(web) == 1 })
	if got, want := web.received.Load(), uint64(len(request)); got != want {
		t.Errorf("%d octets received, want %d", got, want)
	}
	if got, want := web.sent.Load(), uint64(len(answer)); got != want {
		t.Errorf("%d octets sent, want %d", got, want)
	}
	if f := runningApp(t).state.monitor.Flows(10, nil); len(f) != 0 {
		t.Errorf("flows: %+v", f)
	}
}
