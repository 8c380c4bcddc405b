package adminclient

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() { caddy.RegisterModule(echoAPI{}) }

// echoAPI is what the client asks here: a module in the admin API of a real Caddy.
type echoAPI struct{}

// echo says how a request came in.
type echo struct {
	Method, Body, Type, Origin, Query string
}

// CaddyModule implements caddy.Module.
func (echoAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.echo", New: func() caddy.Module { return echoAPI{} }}
}

// Routes implements caddy.AdminRouter.
func (echoAPI) Routes() []caddy.AdminRoute {
	route := func(name string, f caddy.AdminHandlerFunc) caddy.AdminRoute {
		return caddy.AdminRoute{Pattern: "/echo/" + name, Handler: f}
	}
	return []caddy.AdminRoute{
		route("request", func(w http.ResponseWriter, r *http.Request) error {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(w, `{"method":%q,"body":%q,"type":%q,"origin":%q,"query":%q}`,
				r.Method, body, r.Header.Get("Content-Type"), r.Header.Get("Origin"), r.URL.RawQuery)
			return err
		}),
		route("full", func(http.ResponseWriter, *http.Request) error {
			return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: errors.New("no room\nfree \x1b[2Jsome")}
		}),
		route("plain", func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusTeapot)
			_, err := io.WriteString(w, "short and \x07stout\n")
			return err
		}),
		route("moved", func(w http.ResponseWriter, r *http.Request) error {
			http.Redirect(w, r, "/echo/request", http.StatusFound)
			return nil
		}),
		// It never answers, and ends when nobody waits any more.
		route("stuck", func(_ http.ResponseWriter, r *http.Request) error {
			<-r.Context().Done()
			return r.Context().Err()
		}),
		// It begins an answer and never ends it.
		route("slow", func(w http.ResponseWriter, r *http.Request) error {
			if _, err := io.WriteString(w, `{"method":`); err != nil {
				return err
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				return err
			}
			<-r.Context().Done()
			return r.Context().Err()
		}),
		route("cut", func(w http.ResponseWriter, _ *http.Request) error {
			_, err := io.WriteString(w, `{"method":"G`)
			return err
		}),
		route("large", func(w http.ResponseWriter, _ *http.Request) error {
			_, err := io.WriteString(w, `{"body":"`+strings.Repeat("x", 3<<20)+`"}`)
			return err
		}),
	}
}

// run has Caddy listen for its admin API at the address until the test ends. It demands
// the origin there, which it does not by default, and which is nothing for a socket.
func run(t *testing.T, address string) {
	t.Helper()
	load := func(admin string) error {
		return caddy.Load([]byte(`{"admin": {`+admin+`"config": {"persist": false}}, "logging": {"logs": {"default": {"level": "ERROR"}}}}`), true)
	}
	if err := load(fmt.Sprintf(`"listen": %q, "enforce_origin": %t, `, address, !strings.HasPrefix(address, "unix/"))); err != nil {
		t.Fatalf("loading: %v", err)
	}
	t.Cleanup(func() {
		// Stop alone leaves the admin API running.
		if err := errors.Join(load(`"disabled": true, `), caddy.Stop()); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
}

// freeAddr returns an address of loopback on which nobody listens, below the range from
// which outgoing connections take theirs.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		if ln, err := net.Listen("tcp", addr); err == nil {
			ln.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

// socket returns an address of a Unix socket. Its path has to be short.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "admin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return "unix/" + filepath.Join(dir, "s")
}

// Interface guards
var (
	_ caddy.Module      = echoAPI{}
	_ caddy.AdminRouter = echoAPI{}
)
