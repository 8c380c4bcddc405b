package flowmaster

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// halfCloser is a connection that can end its own side: of TCP, or of TLS.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// What happens to a client that ends its side after its request, as `nc -N` does, and to the
// answer of a backend that ends its side, is the same with the wrapper as without it, in
// plain and in TLS. That is: a file comes whole; while a backend is asked, net/http takes the
// end for that of the client, and the request is cancelled.
func TestHalfCloseAsWithoutTheWrapper(t *testing.T) {
	cert, key, _ := certificate(t)
	body := []byte(strings.Repeat("0123456789", 300_000))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), body, 0o600); err != nil {
		t.Fatal(err)
	}
	b := startBackend(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cancelled" {
			<-r.Context().Done()
			return
		}
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(rw, "HTTP/1.0 200 OK\r\n\r\n%s", body) // the end of the connection is that of the answer
		rw.Flush()
		conn.(halfCloser).CloseWrite()
		io.Copy(io.Discard, conn)
	})
	requests := map[string]struct {
		text   string
		halves bool   // the client ends its side
		ends   bool   // the server closes after the answer
		stock  string // what stock Caddy is known to do
	}{
		"HTTP/1.1":           {"GET /file HTTP/1.1\r\nHost: HOST\r\n\r\n", true, false, "200, 3000000 octets"},
		"HTTP/1.1, close":    {"GET /file HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", true, true, "200, 3000000 octets"},
		"HTTP/1.0":           {"GET /file HTTP/1.0\r\nHost: HOST\r\n\r\n", true, true, "200, 3000000 octets"},
		"with a body":        {"GET /file HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\n\r\nhello", true, false, "200, 3000000 octets"},
		"with a chunk":       {"GET /file HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true, false, "200, 3000000 octets"},
		"two in one":         {strings.Repeat("GET /file HTTP/1.1\r\nHost: HOST\r\n\r\n", 2), true, false, "200, 3000000 octets of 3000000, error <nil>; 200, 3000000 octets"},
		"half a header":      {"GET /file HTTP/1.1\r\nHo", true, false, ""},
		"nothing":            {"", true, false, ""},
		"to a backend":       {"GET /cancelled HTTP/1.1\r\nHost: HOST\r\n\r\n", true, false, "499"},
		"the backend ends":   {"GET /ends HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", false, true, "200, 3000000 octets"},
		"the backend, older": {"GET /ends HTTP/1.0\r\nHost: HOST\r\n\r\n", false, true, "200, 3000000 octets"},
	}
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			run := func(proxy string, measured bool) map[string]string {
				addr := freeAddr(t)
				site := proxySite(addr, scheme, fmt.Sprintf("%s\n\troot * %s\n\thandle /file {\n\tfile_server\n}\n\thandle {\n\t%s\n}",
					map[string]string{"https": "tls " + cert + " " + key}[scheme], dir, proxy))
				if !measured {
					site = strings.Replace(site, "\t\tlistener_wrappers {\n\t\t\tflowmaster web\n\t\t\ttls\n\t\t}\n", "", 1)
				}
				startCaddy(t, site)
				defer caddy.Stop()
				var client tally
				got := make(map[string]string)
				for name, r := range requests {
					if scheme == "https" && r.halves && r.ends {
						continue // stock Caddy closes with the client's close_notify unread, or not: who is first
					}
					conn, err := client.dial(t.Context(), "tcp", addr)
					if err != nil {
						t.Fatal(err)
					}
					conn.SetDeadline(time.Now().Add(patience))
					c := conn.(halfCloser)
					if scheme == "https" {
						config := insecure()
						config.ServerName = "localhost"
						secure := tls.Client(conn, config)
						if err := secure.Handshake(); err != nil {
							t.Fatal(err)
						}
						c = secure
					}
					io.WriteString(c, strings.ReplaceAll(r.text, "HOST", map[string]string{"http": "127.0.0.1", "https": "localhost"}[scheme]))
					if r.halves {
						if err := c.CloseWrite(); err != nil {
							t.Fatal(err)
						}
					}
					got[name] = answers(bufio.NewReader(c))
					conn.Close()
				}
				if measured {
					web := endpointOf(t, clients())
					eventually(t, "the connections have ended and all octets are counted", func() bool {
						return web.active.Load() == 0 && int64(web.sent.Load()) == client.in.Load()
					})
					recorded(t, flow.LegDownstream, web)
				}
				return got
			}
			stock := run("reverse_proxy "+b.addr, false)
			for name, r := range requests {
				if got, tried := stock[name]; tried && !strings.Contains(got, r.stock) {
					t.Errorf("%s: stock Caddy does otherwise: %s", name, got)
				}
			}
			for name, proxy := range map[string]string{
				"clients measured":   fmt.Sprintf("reverse_proxy %s", b.addr),
				"both legs measured": fmt.Sprintf("reverse_proxy %s {\n\ttransport lbpro\n}", b.addr),
			} {
				for request, got := range run(proxy, true) {
					if got != stock[request] {
						t.Errorf("%s, %s: ends as\n%s\nin stock\n%s", name, request, got, stock[request])
					}
				}
			}
		})
	}
}

// answers says what came: each answer, and how the connection ended.
func answers(r *bufio.Reader) string {
	var b strings.Builder
	for {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			fmt.Fprintf(&b, "then %v", err)
			return b.String()
		}
		body, err := io.ReadAll(res.Body)
		fmt.Fprintf(&b, "%d, %d octets of %d, error %v; ", res.StatusCode, len(body), res.ContentLength, err)
		if n := bytes.Count(body, []byte("0123456789")); n != len(body)/10 {
			fmt.Fprintf(&b, "damaged; ")
		}
	}
}
