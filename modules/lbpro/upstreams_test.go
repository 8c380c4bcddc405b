package lbpro

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy/fastcgi"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// serveUnix starts a backend on a Unix socket that answers with what h holds.
func serveUnix(t *testing.T, path string, h *atomic.Pointer[http.HandlerFunc]) {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*h.Load())(w, r) })}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln)
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
}

// Backends on Unix sockets are balanced and hedged like others.
func TestUnixUpstreams(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one.sock"), filepath.Join(dir, "two.sock")
	var first, second atomic.Pointer[http.HandlerFunc]
	quick := say("ok")
	first.Store(&quick)
	second.Store(&quick)
	serveUnix(t, one, &first)
	serveUnix(t, two, &second)
	s := startSite(t, fmt.Sprintf("lbpro unix/%s unix/%s {\n\tpool t\n\teject off\n}", one, two))
	p := poolNamed(t, "t")
	warm(t, s, "/")
	for _, b := range p.Backends() {
		if b.Totals.Codes[2].Load() == 0 {
			t.Errorf("%s has answered nothing", b.ID)
		}
	}
	silent := http.HandlerFunc(hang)
	first.Store(&silent)
	eventually(t, "a hedge has answered", func() bool {
		s.get("/").want(t, 200, "ok")
		_, won := hedged(p)
		return won > 0
	})
	idle(t, p)
}

// serveFastCGI starts a FastCGI responder.
func serveFastCGI(t *testing.T, h http.HandlerFunc) (addr string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = fcgi.Serve(ln, h)
	}()
	stop = func() {
		ln.Close()
		<-done
	}
	t.Cleanup(stop)
	return ln.Addr().String(), stop
}

// Other transports are carried as well: FastCGI, with bodies, HEAD, and a responder that
// goes away.
func TestFastCGIUpstreams(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Method", r.Method)
		fmt.Fprintf(w, "%s %s %d", r.Method, r.URL.Path, len(body))
	}
	a, stop := serveFastCGI(t, echo)
	b, _ := serveFastCGI(t, echo)
	s := startSite(t, fmt.Sprintf("root * %s\nlbpro %s %s {\n\tpool t\n\ttransport fastcgi {\n\t\tsplit .php\n\t}\n}", t.TempDir(), a, b))
	p := poolNamed(t, "t")
	ask := func(method, body string) reply {
		t.Helper()
		if body == "" {
			return s.send(s.request(method, "/index.php", nil))
		}
		return s.send(s.request(method, "/index.php", strings.NewReader(body)))
	}
	for range 50 {
		ask(http.MethodGet, "").want(t, 200, "GET /index.php 0")
		ask(http.MethodPost, "twelve bytes").want(t, 200, "POST /index.php 12")
		if r := ask(http.MethodHead, ""); r.StatusCode != 200 || r.body != "" || r.Header.Get("X-Method") != "HEAD" {
			t.Fatalf("HEAD is answered %d %q as %q", r.StatusCode, r.body, r.Header.Get("X-Method"))
		}
	}
	stop()
	for range 50 {
		ask(http.MethodGet, "").want(t, 200, "GET /index.php 0")
		ask(http.MethodPost, "twelve bytes").want(t, 200, "POST /index.php 12") // nothing was sent where no connection came about
	}
	if down := p.Get(a); down.Totals.Failures[balance.ConnectFailure].Load() == 0 {
		t.Error("the responder that is gone was never asked, so nothing was shown")
	}
	idle(t, p)
}
