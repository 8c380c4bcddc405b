package lbpro

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// counted checks that the pool of one backend has seen exactly one attempt, answered with
// the class, and that nothing of it is left in flight.
func counted(t *testing.T, p *balance.Pool, class int) *balance.Backend {
	t.Helper()
	idle(t, p)
	b := p.Backends()[0]
	if n := attempts(p); n != 1 {
		t.Errorf("%d attempts were counted, want 1", n)
	}
	for i := range b.Totals.Codes {
		want := int64(0)
		if i == class {
			want = 1
		}
		if n := b.Totals.Codes[i].Load(); n != want {
			t.Errorf("%d answers of class %dxx were counted, want %d", n, i, want)
		}
	}
	if n := b.Totals.Retries.Load() + b.Totals.Hedges.Load(); n != 0 {
		t.Errorf("%d repeats were counted, want none", n)
	}
	return b
}

func TestGet(t *testing.T) {
	s, p := startPool(t, "", serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", r.Header.Get("X-Forwarded-Proto")+" "+r.Header.Get("Via"))
		io.WriteString(w, "hello")
	}))
	r := s.get("/")
	r.want(t, 200, "hello")
	if v := r.Header.Get("X-Seen"); v != "http 1.1 Caddy" {
		t.Errorf("the backend saw %q in the forwarded headers", v)
	}
	if n := counted(t, p, 2).Totals.Received.Load(); n != 5 {
		t.Errorf("%d body bytes were counted, want 5", n)
	}
}

func TestHead(t *testing.T) {
	s, p := startPool(t, "", serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "4711")
		w.Header().Set("X-Method", r.Method)
	}))
	r := s.send(s.request(http.MethodHead, "/", nil))
	r.want(t, 200, "")
	if r.ContentLength != 4711 || r.Header.Get("X-Method") != "HEAD" {
		t.Errorf("length %d, method at the backend %q; want 4711 and HEAD", r.ContentLength, r.Header.Get("X-Method"))
	}
	counted(t, p, 2)
}

func TestNotModifiedAndNoContent(t *testing.T) {
	for _, code := range []int{http.StatusNotModified, http.StatusNoContent} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			s, p := startPool(t, "", serve(t, status(code)))
			s.get("/").want(t, code, "")
			counted(t, p, code/100)
		})
	}
}

func TestLargeUploadAndDownload(t *testing.T) {
	const size = 24 << 20
	block := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	sum := func(r io.Reader) string {
		h := sha256.New()
		if _, err := io.Copy(h, r); err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%x", h.Sum(nil))
	}
	stream := func() io.Reader {
		return io.LimitReader(&repeater{block: block}, size)
	}
	want := sum(stream())
	for _, c := range []struct {
		name   string
		length int64
	}{{"known length", size}, {"chunked", -1}} {
		t.Run("upload, "+c.name, func(t *testing.T) {
			s, p := startPool(t, "", serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.ContentLength != c.length {
					t.Errorf("the backend sees a length of %d, want %d", r.ContentLength, c.length)
				}
				io.WriteString(w, sum(r.Body))
			}))
			req := s.request(http.MethodPost, "/", stream())
			req.ContentLength = c.length
			s.send(req).want(t, 200, want)
			if n := counted(t, p, 2).Totals.Sent.Load(); n != size {
				t.Errorf("%d body bytes were counted as sent, want %d", n, size)
			}
		})
		t.Run("download, "+c.name, func(t *testing.T) {
			s, p := startPool(t, "", serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if c.length > 0 {
					w.Header().Set("Content-Length", fmt.Sprint(c.length))
				}
				io.Copy(w, stream())
			}))
			res, err := client.Do(s.request(http.MethodGet, "/", nil))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if got := sum(res.Body); got != want || res.ContentLength != c.length {
				t.Errorf("sum %s of length %d, want %s of %d", got, res.ContentLength, want, c.length)
			}
			if n := counted(t, p, 2).Totals.Received.Load(); n != size {
				t.Errorf("%d body bytes were counted as received, want %d", n, size)
			}
		})
	}
}

// repeater reads the same block for ever.
type repeater struct {
	block []byte
	at    int
}

func (r *repeater) Read(p []byte) (int, error) {
	n := copy(p, r.block[r.at:])
	r.at = (r.at + n) % len(r.block)
	return n, nil
}

func TestEarlyHints(t *testing.T) {
	s, p := startPool(t, "", serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		io.WriteString(w, "page")
	}))
	var hints []string
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, " ", h.Get("Link")))
			return nil
		},
	})
	s.send(s.request(http.MethodGet, "/", nil).WithContext(ctx)).want(t, 200, "page")
	if len(hints) != 1 || hints[0] != "103 </style.css>; rel=preload" {
		t.Errorf("hints are %q", hints)
	}
	counted(t, p, 2)
}

func TestExpectContinue(t *testing.T) {
	s, p := startPool(t, "", serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "got %s", body)
	}))
	conn := s.dial()
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	res, err := http.ReadResponse(conn.r, nil)
	if err != nil || res.StatusCode != http.StatusContinue {
		t.Fatalf("first answer is %v (%v), want 100 Continue", res, err)
	}
	io.WriteString(conn, "body")
	for err == nil && res.StatusCode == http.StatusContinue {
		res, err = http.ReadResponse(conn.r, nil) // the backend's own may come as well
	}
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "got body" {
		t.Errorf("answer is %d %q (%v)", res.StatusCode, body, err)
	}
	counted(t, p, 2)
}

func TestTrailers(t *testing.T) {
	s, p := startPool(t, "", serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		io.Copy(w, r.Body)
		w.Header().Set("X-Sum", "of "+r.Trailer.Get("X-Up"))
	}))
	req := s.request(http.MethodPost, "/", strings.NewReader("text"))
	req.ContentLength = -1
	req.Trailer = http.Header{"X-Up": {"request"}}
	r := s.send(req)
	r.want(t, 200, "text")
	if v := r.Trailer.Get("X-Sum"); v != "of request" {
		t.Errorf("trailer is %q, want %q", v, "of request")
	}
	counted(t, p, 2)
}

func TestServerSentEvents(t *testing.T) {
	next := make(chan string)
	s, p := startPool(t, "", serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for e := range next {
			fmt.Fprintf(w, "data: %s\n\n", e)
			w.(http.Flusher).Flush()
		}
	}))
	go func() { next <- "first" }()
	res, err := client.Do(s.request(http.MethodGet, "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	expect := func(want string) {
		t.Helper()
		if line, err := lines.ReadString('\n'); err != nil || line != want {
			t.Fatalf("line %q (%v), want %q", line, err, want)
		}
	}
	// Each event arrives before the next is sent: nothing is held back.
	expect("data: first\n")
	expect("\n")
	next <- "second"
	expect("data: second\n")
	if n := p.Backends()[0].InFlight(); n != 1 {
		t.Errorf("%d requests in flight during the stream, want 1", n)
	}
	close(next)
	io.Copy(io.Discard, lines)
	counted(t, p, 2)
}

func TestUpgrade(t *testing.T) {
	s, p := startPool(t, "", serve(t, upgradeEcho))
	conn := s.dial()
	fmt.Fprintf(conn, "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	res, err := http.ReadResponse(conn.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Upgrade") != "websocket" {
		t.Fatalf("answer is %d, upgrade to %q", res.StatusCode, res.Header.Get("Upgrade"))
	}
	for _, word := range []string{"one\n", "two\n"} {
		io.WriteString(conn, word)
		if got, err := conn.r.ReadString('\n'); err != nil || got != word {
			t.Fatalf("echo is %q (%v), want %q", got, err, word)
		}
	}
	if n := p.Backends()[0].InFlight(); n != 1 {
		t.Errorf("%d in flight during the upgrade, want 1", n)
	}
	// A half-close reaches the backend, and its last words still come back.
	if err := conn.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(conn.r); err != nil || string(rest) != "bye\n" {
		t.Errorf("after the half-close came %q (%v), want %q", rest, err, "bye\n")
	}
	b := counted(t, p, 1)
	if in, out := b.Totals.Received.Load(), b.Totals.Sent.Load(); in != 12 || out != 8 {
		t.Errorf("%d bytes received and %d sent were counted, want 12 and 8", in, out)
	}
}

// upgradeEcho sends back what it reads, and says bye at the end.
func upgradeEcho(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") != "Upgrade" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	conn, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	io.Copy(conn, rw)
	io.WriteString(conn, "bye\n")
}

func TestUpgradeIsRefused(t *testing.T) {
	s, p := startPool(t, "", serve(t, status(http.StatusForbidden)))
	req := s.request(http.MethodGet, "/", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	s.send(req).want(t, http.StatusForbidden, "")
	counted(t, p, 4)
}

func TestClientAborts(t *testing.T) {
	t.Run("before the first byte", func(t *testing.T) {
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
		if _, err := fetch(s.request(http.MethodGet, "/", nil).WithContext(ctx)); err == nil {
			t.Error("an aborted request was answered")
		}
		<-gone // the abort reaches the backend
		aborted(t, p)
	})
	t.Run("in the body", func(t *testing.T) {
		gone := make(chan struct{})
		s, p := startPool(t, "", serve(t, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "part")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			close(gone)
		}))
		conn := s.dial()
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if res, err := http.ReadResponse(conn.r, nil); err != nil || res.StatusCode != 200 {
			t.Fatalf("answer is %v (%v)", res, err)
		}
		conn.Close()
		<-gone
		aborted(t, p)
	})
	t.Run("in the upload", func(t *testing.T) {
		up := serve(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
		s, p := startPool(t, "", up)
		conn := s.dial()
		io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\npart")
		eventually(t, "the request is at the backend", func() bool { return up.hits.Load() == 1 })
		conn.Close()
		aborted(t, p)
	})
}

// aborted checks that one attempt was counted as canceled, and that the backend is not
// blamed for it.
func aborted(t *testing.T, p *balance.Pool) {
	t.Helper()
	idle(t, p)
	b := p.Backends()[0]
	if n, c := attempts(p), b.Totals.Canceled.Load(); n != 1 || c != 1 {
		t.Errorf("%d attempts, %d of them canceled; want 1 and 1", n, c)
	}
	if b.State() != balance.Serving || p.Outage() {
		t.Errorf("the backend is blamed: state %v, outage %v", b.State(), p.Outage())
	}
}

// A backend that breaks off in the middle of an answer cuts the client's answer short too:
// half an answer must not look whole.
func TestBackendBreaksOff(t *testing.T) {
	s, p := startPool(t, "", serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, "part")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}), serve(t, say("whole")))
	for range 20 {
		r, err := fetch(s.request(http.MethodGet, "/", nil))
		if err == nil && r.body != "whole" {
			t.Fatalf("answer %q looks whole", r.body)
		}
	}
	idle(t, p)
	if b := p.Backends()[0]; b.Totals.Codes[2].Load() > 0 && b.Totals.Canceled.Load() != 0 {
		t.Errorf("%d broken answers were counted as canceled", b.Totals.Canceled.Load())
	}
}

// conn is a connection on which a test speaks HTTP by itself.
type conn struct {
	net.Conn
	r *bufio.Reader
}

func (s *site) dial() *conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &conn{c, bufio.NewReader(c)}
}
