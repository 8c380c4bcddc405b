package lbpro

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() { caddy.RegisterModule(stubTransport{}) }

// stubTransport answers at once with 1 KB, without a network.
type stubTransport struct{}

func (stubTransport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.transport.test_stub", New: func() caddy.Module { return new(stubTransport) }}
}

func (stubTransport) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { d.Next(); return nil }

var kilobyte = strings.Repeat("x", 1024)

type stubBody struct{ strings.Reader }

func (*stubBody) Close() error { return nil }

func (stubTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	body := new(stubBody)
	body.Reset(kilobyte)
	return &http.Response{
		Status: "200 OK", StatusCode: 200, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"text/plain"}}, Body: body, ContentLength: 1024, Request: req,
	}, nil
}

// SetScheme completes the URL, as Caddy's HTTP transport does.
func (stubTransport) SetScheme(req *http.Request) { req.URL.Scheme = "http" }

// blackHole is a ResponseWriter that keeps nothing.
type blackHole struct{ header http.Header }

func (w *blackHole) Header() http.Header         { return w.header }
func (w *blackHole) Write(p []byte) (int, error) { return len(p), nil }
func (w *blackHole) WriteHeader(int)             {}

// variants are the handlers that are compared.
var variants = []struct{ name, directive, options string }{
	{"reverse_proxy", "reverse_proxy", "lb_policy least_conn"},
	{"lbpro", "lbpro", ""},
	{"lbpro without hedging", "lbpro", "hedge off"},
}

// BenchmarkHandler measures the handlers in process with a stub transport and four
// backends, without access log: what a request costs beside the network.
func BenchmarkHandler(b *testing.B) {
	for _, v := range variants {
		b.Run(v.name, func(b *testing.B) {
			startSite(b, v.directive+" a:80 b:80 c:80 d:80 {\n\ttransport test_stub\n\t"+v.options+"\n}")
			app, err := caddy.ActiveContext().App("http")
			if err != nil {
				b.Fatal(err)
			}
			var srv *caddyhttp.Server
			for _, srv = range app.(*caddyhttp.App).Servers {
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				req := httptest.NewRequest(http.MethodGet, "/some/path?q=1", nil)
				req.Header.Set("User-Agent", "bench")
				w := &blackHole{make(http.Header)}
				for pb.Next() {
					clear(w.header)
					srv.ServeHTTP(w, req)
				}
			})
		})
	}
}

// BenchmarkLoopback measures the same with real connections over loopback, client and
// backends included.
func BenchmarkLoopback(b *testing.B) {
	for _, v := range variants {
		b.Run(v.name, func(b *testing.B) {
			var addrs []string
			for range 4 {
				addrs = append(addrs, serve(b, say(kilobyte)).addr)
			}
			s := startSite(b, fmt.Sprintf("%s %s {\n\t%s\n}", v.directive, strings.Join(addrs, " "), v.options))
			c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
			defer c.CloseIdleConnections()
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					res, err := c.Get(s.URL)
					if err != nil {
						b.Error(err)
						return
					}
					n, _ := io.Copy(io.Discard, res.Body)
					res.Body.Close()
					if res.StatusCode != 200 || n != 1024 {
						b.Errorf("answer is %d with %d bytes", res.StatusCode, n)
						return
					}
				}
			})
		})
	}
}
