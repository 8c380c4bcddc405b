package adminclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"
)

// client returns the client of a command with these flags.
func client(t *testing.T, flags ...string) *Client {
	t.Helper()
	c := New("echo")
	cmd := new(cobra.Command)
	c.AddFlags(cmd)
	if err := cmd.ParseFlags(flags); err != nil {
		t.Fatal(err)
	}
	return c
}

// fails checks that an error mentions what is wanted.
func fails(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; it should mention %q", want)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not mention %q", err, w)
		}
	}
}

func TestRequestsReachCaddy(t *testing.T) {
	tcp := freeAddr(t)
	for _, address := range []string{tcp, "tcp/" + tcp, socket(t), socket(t) + "|0200"} {
		t.Run(address, func(t *testing.T) {
			run(t, address)
			c := client(t, "--address", address)
			origin := "http://" + tcp
			if strings.HasPrefix(address, "unix/") {
				origin = ""
			}
			for range 2 { // the second does not look for the address again
				var got echo
				if err := c.Get(t.Context(), "/echo/request?a=b", &got); err != nil {
					t.Fatal(err)
				}
				if want := (echo{Method: "GET", Origin: origin, Query: "a=b"}); got != want {
					t.Errorf("GET: got %+v, want %+v", got, want)
				}
				if err := c.Post(t.Context(), "/echo/request", map[string]any{"n": 1}, &got); err != nil {
					t.Fatal(err)
				}
				if want := (echo{Method: "POST", Body: `{"n":1}`, Type: "application/json", Origin: origin}); got != want {
					t.Errorf("POST: got %+v, want %+v", got, want)
				}
			}
			var out bytes.Buffer
			if err := c.Print(t.Context(), &out, "/echo/request"); err != nil || !strings.HasPrefix(out.String(), "{\n  \"method\": \"GET\",\n") {
				t.Errorf("printed %q, %v", out.String(), err)
			}
		})
	}
}

// The address is found in the flag, the configuration or CADDY_ADMIN, in this order.
func TestAddressIsFound(t *testing.T) {
	address, nobody := freeAddr(t), freeAddr(t)
	run(t, address)
	file := func(name, format, address string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, fmt.Appendf(nil, format, address), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const asJSON, asText = `{"admin": {"listen": %q}}`, "{\n\tadmin %s\n}\n"
	before := caddy.DefaultAdminListen
	t.Cleanup(func() { caddy.DefaultAdminListen = before })
	for _, c := range []struct {
		variable string // what CADDY_ADMIN says, which Caddy reads at its start
		flags    []string
	}{
		{nobody, []string{"--address", address}},
		{nobody, []string{"--address", address, "--config", file("a.json", asJSON, nobody)}},
		{nobody, []string{"--config", file("b.json", asJSON, address)}},
		{nobody, []string{"-c", file("c", asText, address), "-a", "caddyfile"}},
		{address, nil},
		{address, []string{"--config", file("d.json", `{"apps": {}, "id": %q}`, "none")}},
	} {
		caddy.DefaultAdminListen = c.variable
		var got echo
		if err := client(t, c.flags...).Get(t.Context(), "/echo/request", &got); err != nil {
			t.Errorf("%q, CADDY_ADMIN=%s: %v", c.flags, c.variable, err)
		}
	}
	caddy.DefaultAdminListen = nobody
	fails(t, client(t).Get(t.Context(), "/echo/request", new(echo)), "no Caddy answers at "+nobody, "--address")
	fails(t, client(t, "--config", "nowhere.json").Get(t.Context(), "/", new(echo)), "finding the admin API", "nowhere.json")
	fails(t, client(t, "--address", socket(t)).Get(t.Context(), "/", new(echo)), "no Caddy answers", "start one")
	fails(t, client(t, "--address", "localhost:1-9").Get(t.Context(), "/", new(echo)), "localhost:1-9", "such as")
	fails(t, client(t, "--address", "localhost:port").Get(t.Context(), "/", new(echo)), "localhost:port", "such as")
}

func TestErrorsOfCaddy(t *testing.T) {
	address := freeAddr(t)
	run(t, address)
	for path, want := range map[string]struct {
		status int
		say    []string
	}{
		"full":    {http.StatusServiceUnavailable, []string{"no room; free ?[2Jsome"}},
		"plain":   {http.StatusTeapot, []string{address, "answered 418: short and ?stout"}},
		"moved":   {http.StatusFound, []string{"answered 302"}},
		"nothing": {http.StatusNotFound, []string{"built without echo"}},
		"cut":     {0, []string{"reading the answer", address}},
	} {
		err := client(t, "--address", address).Get(t.Context(), "/echo/"+path, new(echo))
		fails(t, err, want.say...)
		if got := Status(fmt.Errorf("wrapped: %w", err)); got != want.status {
			t.Errorf("%s: status %d, want %d", path, got, want.status)
		}
	}
	fails(t, client(t, "--address", address).Post(t.Context(), "/echo/request", func() {}, new(echo)), "encoding the request")
	c := client(t, "--address", address)
	c.most = 1 << 20
	fails(t, c.Get(t.Context(), "/echo/large", new(echo)), "more than 1 MiB")
	c.most = 4 << 20
	if err := c.Get(t.Context(), "/echo/large", new(echo)); err != nil {
		t.Errorf("an answer below the bound: %v", err)
	}
}

func TestNobodyWaitsForEver(t *testing.T) {
	address := freeAddr(t)
	run(t, address)
	for _, path := range []string{"stuck", "slow"} {
		c := client(t, "--address", address, "--timeout", "50ms")
		fails(t, c.Get(t.Context(), "/echo/"+path, new(echo)), "did not answer within 50ms", "--timeout")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		if err := client(t, "--address", address).Get(ctx, "/echo/"+path, new(echo)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the user gave up, and the error is %v", path, err)
		}
	}
	fails(t, client(t, "--timeout", "0s").Get(t.Context(), "/", new(echo)), "--timeout 0s")
}
