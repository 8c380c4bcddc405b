package testbed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// answer is what came of one request.
type answer struct {
	code    int    // 0 when there was none
	failure string // one of the Failure constants; empty when there is a code
	redials int    // pooled connections found closed
}

// Reasons for a request without an answer, the keys of [Result.Failures].
const (
	FailureTimeout = "timeout" // no whole answer within the client's patience
	FailureRefused = "refused" // connection refused
	FailureReset   = "reset"   // connection reset
	FailureClosed  = "closed"  // connection closed before the answer's end
	FailureStopped = "stopped" // the run's context ended
	FailureOther   = "other"
)

// client is an HTTP/1.1 client made to cost little: one goroutine and one pooled
// connection a request, no redirects, bodies thrown away. Unlike net/http's it hides
// nothing: only a pooled connection that turns out closed before any byte of an
// answer is replaced (RFC 9112 section 9.3.1), once, for idempotent methods.
type client struct {
	host string

	mu     sync.Mutex
	idle   []*wire // last in, first out
	closed bool
}

type wire struct {
	conn net.Conn
	r    *bufio.Reader
	buf  []byte
}

func newClient(rawURL string) (*client, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if u.Scheme != "http" || u.Port() == "" {
		return nil, fmt.Errorf("load: URL %q: must be http://host:port", rawURL)
	}
	return &client{host: u.Host}, nil
}

func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, w := range c.idle {
		_ = w.conn.Close()
	}
	c.idle = nil
}

// do sends a request and reads the whole answer, until the deadline.
func (c *client) do(ctx context.Context, req Request, deadline time.Time) answer {
	var a answer
	w := c.pooled()
	for {
		pooled := w != nil
		var err error
		if !pooled {
			w, err = c.dial(ctx, deadline)
		}
		if err == nil {
			var began bool
			a.code, began, err = c.exchange(ctx, w, req, deadline)
			if err != nil && pooled && !began && idempotent(req.Method) && !isTimeout(err) && ctx.Err() == nil {
				a.redials++
				w = nil
				continue
			}
		}
		if err != nil {
			a.code, a.failure = 0, reason(ctx, err)
		}
		return a
	}
}

func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// pooled takes the connection used last, or returns nil.
func (c *client) pooled() *wire {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.idle)
	if n == 0 {
		return nil
	}
	w := c.idle[n-1]
	c.idle = c.idle[:n-1]
	return w
}

func (c *client) dial(ctx context.Context, deadline time.Time) (*wire, error) {
	d := net.Dialer{Deadline: deadline}
	conn, err := d.DialContext(ctx, "tcp", c.host)
	if err != nil {
		return nil, err
	}
	return &wire{conn: conn, r: bufio.NewReaderSize(conn, 4096)}, nil
}

func (c *client) put(w *wire) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = w.conn.Close()
		return
	}
	c.idle = append(c.idle, w)
}

// exchange runs one request over a connection and returns it to the pool or closes
// it. began reports whether any byte of an answer came.
func (c *client) exchange(ctx context.Context, w *wire, req Request, deadline time.Time) (code int, began bool, err error) {
	stop := context.AfterFunc(ctx, func() { _ = w.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	keep := false
	defer func() {
		if keep {
			c.put(w)
		} else {
			_ = w.conn.Close()
		}
	}()
	if err := w.conn.SetDeadline(deadline); err != nil {
		return 0, false, err
	}
	if ctx.Err() != nil { // it may have ended before the deadline was set
		return 0, false, ctx.Err()
	}
	w.buf = appendRequest(w.buf[:0], c.host, req)
	if _, err := w.conn.Write(w.buf); err != nil {
		return 0, false, err
	}
	if _, err := w.r.Peek(1); err != nil {
		return 0, false, err
	}
	resp, err := http.ReadResponse(w.r, &http.Request{Method: req.Method})
	for err == nil && resp.StatusCode < 200 { // interim responses
		resp, err = http.ReadResponse(w.r, &http.Request{Method: req.Method})
	}
	if err != nil {
		return 0, true, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err != nil {
		return 0, true, err
	}
	keep = !resp.Close && ctx.Err() == nil
	return resp.StatusCode, true, nil
}

// appendRequest writes the request's head; there is no body.
func appendRequest(b []byte, host string, req Request) []byte {
	b = append(b, req.Method...)
	b = append(b, ' ')
	b = append(b, req.Path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host...)
	b = append(b, "\r\nUser-Agent: testbed\r\n"...)
	if req.Demand > 0 {
		b = append(b, DemandHeader+": "...)
		b = strconv.AppendInt(b, int64(req.Demand), 10)
		b = append(b, "\r\n"...)
	}
	if req.Hold > 0 {
		b = append(b, HoldHeader+": "...)
		b = strconv.AppendInt(b, int64(req.Hold), 10)
		b = append(b, "\r\n"...)
	}
	if req.Method == http.MethodPost || req.Method == http.MethodPut || req.Method == http.MethodPatch {
		b = append(b, "Content-Length: 0\r\n"...)
	}
	return append(b, "\r\n"...)
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

func reason(ctx context.Context, err error) string {
	var netErr net.Error
	switch {
	case ctx.Err() != nil:
		return FailureStopped
	case isTimeout(err), errors.As(err, &netErr) && netErr.Timeout():
		return FailureTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return FailureRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return FailureReset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return FailureClosed
	default:
		return FailureOther
	}
}
