package flowmaster

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// HTTP/2 without TLS is served and counted to the octet on both legs.
func TestPlainHTTP2(t *testing.T) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	b := startBackendOf(t, &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%s got %d %s", r.Proto, n, strings.Repeat("x", 100_000))
	})})
	addr := freeAddr(t)
	site := proxySite(addr, "http", fmt.Sprintf("lbpro h2c://%s {\n\tpool p\n}", b.addr))
	startCaddy(t, strings.Replace(site, "protocols h1 h2", "protocols h1 h2c", 1))
	var client tally
	only := new(http.Protocols)
	only.SetUnencryptedHTTP2(true)
	transport := &http.Transport{DialContext: client.dial, Protocols: only}
	hc := &http.Client{Transport: transport, Timeout: patience}
	for i := range 20 {
		res, err := hc.Post("http://"+addr, "text/plain", bytes.NewReader(make([]byte, i*1000)))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if want := fmt.Sprintf("HTTP/2.0 got %d x", i*1000); err != nil || res.ProtoMajor != 2 || !strings.HasPrefix(string(body), want) {
			t.Fatalf("%s answers %.40q: %v", res.Proto, body, err)
		}
	}
	transport.CloseIdleConnections()
	down := endpointOf(t, clients())
	exactly(t, "clients", down, &client)
	recorded(t, flow.LegDownstream, down)
	b.server.Close()
	up := endpointOf(t, endpointKey{leg: flow.LegUpstream, pool: "p", backend: b.addr})
	exactly(t, "backend", up, &b.tally)
	recorded(t, flow.LegUpstream, up)
}

// HTTP/3 is served beside the wrapper, and is not measured.
func TestHTTP3IsServed(t *testing.T) {
	cert, key, _ := certificate(t)
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	site := proxySite(addr, "https", fmt.Sprintf("tls %s %s\n\trespond ok", cert, key))
	startCaddy(t, strings.Replace(site, "protocols h1 h2", "protocols h1 h2 h3", 1))
	url := "https://localhost:" + port
	get := func(rt http.RoundTripper) *http.Response {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); string(body) != "ok" || err != nil {
			t.Errorf("%s answers %q: %v", res.Proto, body, err)
		}
		return res
	}
	if res := get(&http.Transport{TLSClientConfig: insecure(), DisableKeepAlives: true}); !strings.Contains(res.Header.Get("Alt-Svc"), "h3=") {
		t.Errorf("HTTP/3 is not offered: %v", res.Header)
	}
	web := endpointOf(t, clients())
	eventually(t, "the TCP connection has ended", func() bool { return endedConns(web) == 1 })
	octets := web.received.Load()
	quic := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}}
	defer quic.Close()
	if res := get(quic); res.ProtoMajor != 3 {
		t.Errorf("protocol is %s", res.Proto)
	}
	if n := endedConns(web); n != 1 || web.active.Load() != 0 || web.received.Load() != octets || theProcess().unmeasured.Load() != 0 {
		t.Errorf("%d connections of %d octets are counted: HTTP/3 is among them", n, web.received.Load())
	}
}

// The admin endpoint and the listeners of other servers are left alone.
func TestAdminIsNotMeasured(t *testing.T) {
	_, admin := runWithAdmin(t, "")
	ask[statusResource](t, admin, "/flowmaster/status", 200)
	theProcess().endpoints.each(func(e *endpoint) { t.Errorf("%+v is measured", e.key) })
}
