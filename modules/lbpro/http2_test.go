package lbpro

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// protocols returns the ones given, for servers and clients.
func protocols(set ...func(*http.Protocols, bool)) *http.Protocols {
	p := new(http.Protocols)
	for _, f := range set {
		f(p, true)
	}
	return p
}

// serveH2C starts a backend that speaks HTTP/2 without TLS, and nothing else.
func serveH2C(t *testing.T, h http.HandlerFunc) *server {
	t.Helper()
	ln, err := net.Listen("tcp", freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: ln.Addr().String()}
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.hits.Add(1)
			h(w, r)
		}),
		Protocols: protocols((*http.Protocols).SetUnencryptedHTTP2),
	}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	return s
}

// h2c is a client that speaks HTTP/2 without TLS to the site.
func h2c(t *testing.T) *http.Client {
	tr := &http.Transport{Protocols: protocols((*http.Protocols).SetUnencryptedHTTP2)}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// proto answers with the protocol of the request.
func proto(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }

func TestHTTP2ToBackends(t *testing.T) {
	t.Run("h2c", func(t *testing.T) {
		b := serveH2C(t, proto)
		s := startSite(t, "lbpro h2c://"+b.addr+" {\n\tpool t\n}")
		s.get("/").want(t, 200, "HTTP/2.0")
		counted(t, poolNamed(t, "t"), 2)
	})
	t.Run("h2 over TLS", func(t *testing.T) {
		b := httptest.NewUnstartedServer(http.HandlerFunc(proto))
		b.EnableHTTP2 = true
		b.StartTLS()
		t.Cleanup(b.Close)
		s := startSite(t, "lbpro https://"+b.Listener.Addr().String()+" {\n\tpool t\n\ttransport http {\n\t\ttls_insecure_skip_verify\n\t}\n}")
		s.get("/").want(t, 200, "HTTP/2.0")
		counted(t, poolNamed(t, "t"), 2)
	})
	t.Run("h1 only", func(t *testing.T) {
		s, p := startPool(t, "transport http {\n\tversions 1.1\n}", serve(t, proto))
		s.get("/").want(t, 200, "HTTP/1.1")
		counted(t, p, 2)
	})
}

func TestHTTP2FromClients(t *testing.T) {
	s, p := startPool(t, "", serve(t, proto))
	res, err := h2c(t).Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.Proto != "HTTP/2.0" || string(body) != "HTTP/1.1" {
		t.Errorf("the client sees %s, the backend %s", res.Proto, body)
	}
	counted(t, p, 2)
}

// frame is a gRPC message on the wire: a flag, the length, the message.
func frame(message string) []byte {
	b := make([]byte, 5, 5+len(message))
	binary.BigEndian.PutUint32(b[1:], uint32(len(message)))
	return append(b, message...)
}

func readFrame(r io.Reader) (string, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return "", err
	}
	message := make([]byte, binary.BigEndian.Uint32(head[1:]))
	_, err := io.ReadFull(r, message)
	return string(message), err
}

// A bidirectional gRPC stream passes message by message in both directions, and ends with
// the status in the trailers.
func TestGRPC(t *testing.T) {
	b := serveH2C(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Te") != "trailers" || r.Header.Get("Content-Type") != "application/grpc" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		n := 0
		for {
			m, err := readFrame(r.Body)
			if err != nil {
				break
			}
			n++
			w.Write(frame("re: " + m))
			w.(http.Flusher).Flush()
		}
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set("Grpc-Message", fmt.Sprint(n, " messages"))
	})
	s := startSite(t, "lbpro h2c://"+b.addr+" {\n\tpool t\n}")
	body, send := io.Pipe()
	req := s.request(http.MethodPost, "/pkg.Service/Method", body)
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	res, err := h2c(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for _, m := range []string{"one", "two", "three"} {
		send.Write(frame(m))
		if got, err := readFrame(res.Body); err != nil || got != "re: "+m {
			t.Fatalf("message is %q (%v), want %q", got, err, "re: "+m)
		}
	}
	send.Close()
	if rest, err := io.ReadAll(res.Body); err != nil || len(rest) != 0 {
		t.Errorf("after the last message came %q (%v)", rest, err)
	}
	if st, m := res.Trailer.Get("Grpc-Status"), res.Trailer.Get("Grpc-Message"); st != "0" || m != "3 messages" {
		t.Errorf("trailers say %q, %q", st, m)
	}
	counted(t, poolNamed(t, "t"), 2)
}

// An error of gRPC is a status 200 with trailers only: it passes as it is.
func TestGRPCError(t *testing.T) {
	b := serveH2C(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", "14")
	})
	s := startSite(t, "lbpro h2c://"+b.addr+" {\n\tpool t\n}")
	req := s.request(http.MethodPost, "/pkg.Service/Method", nil)
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	res, err := h2c(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 || res.Header.Get("Grpc-Status") != "14" {
		t.Errorf("answer is %d with status %q", res.StatusCode, res.Header.Get("Grpc-Status"))
	}
	counted(t, poolNamed(t, "t"), 2)
}

// A client that resets its HTTP/2 stream aborts the request at the backend as well.
func TestHTTP2ClientAborts(t *testing.T) {
	gone := make(chan struct{})
	b := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(gone)
	})
	s, p := startPool(t, "", b)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		eventually(t, "the request is at the backend", func() bool { return b.hits.Load() == 1 })
		cancel()
	}()
	if res, err := h2c(t).Do(s.request(http.MethodGet, "/", nil).WithContext(ctx)); err == nil {
		res.Body.Close()
		t.Error("an aborted request was answered")
	}
	<-gone
	aborted(t, p)
}

// Many streams of one client connection are balanced one by one.
func TestHTTP2StreamsAreBalanced(t *testing.T) {
	a, b := serve(t, say("ok")), serve(t, say("ok"))
	s, _ := startPool(t, "policy round_robin", a, b)
	c := h2c(t)
	for range 60 {
		res, err := c.Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	if a.hits.Load() != 30 || b.hits.Load() != 30 {
		t.Errorf("the backends got %d and %d of 60 requests of one connection", a.hits.Load(), b.hits.Load())
	}
}

// An upgrade goes over TLS to a backend that would speak HTTP/2 otherwise.
func TestUpgradeOverTLS(t *testing.T) {
	b := httptest.NewUnstartedServer(http.HandlerFunc(upgradeEcho))
	b.EnableHTTP2 = true
	b.StartTLS()
	t.Cleanup(b.Close)
	s := startSite(t, "lbpro https://"+b.Listener.Addr().String()+" {\n\tpool t\n\ttransport http {\n\t\ttls_insecure_skip_verify\n\t}\n}")
	conn := s.dial()
	fmt.Fprintf(conn, "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	res, err := http.ReadResponse(conn.r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answer is %v (%v)", res, err)
	}
	io.WriteString(conn, "word\n")
	if got, err := conn.r.ReadString('\n'); err != nil || got != "word\n" {
		t.Errorf("echo is %q (%v)", got, err)
	}
	conn.Close()
	counted(t, poolNamed(t, "t"), 1)
}
