package lbpro

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// replayBody keeps what was read of a request body, up to limit, so that another attempt
// can send it again. The attempts read one after the other, but the transport of a
// failed one may still be in Read when the next begins: mu keeps them apart, and each
// reads through a handle of its own.
type replayBody struct {
	limit int64
	lost  atomic.Bool // more was read than is kept: only owner can go on

	mu    sync.Mutex
	src   io.ReadCloser
	kept  []byte
	end   error // what src ended with
	owner *replayReader
}

// errBodyGone is what an attempt reads when the body cannot be sent again.
var errBodyGone = errors.New("the request body was sent already and is larger than retry max_body")

// fresh returns a reader of the whole body for the next attempt.
func (b *replayBody) fresh() *replayReader { return &replayReader{body: b} }

// repeatable reports whether a further attempt could send the body.
func (b *replayBody) repeatable() bool { return !b.lost.Load() }

type replayReader struct {
	body *replayBody
	sent atomic.Int64 // bytes read by this attempt

	// Guarded by body.mu.
	at    int
	over  bool // all was read
	tells *balance.Attempt
}

// carriedBy has the attempt told when all is read. It is called before that begins.
func (r *replayReader) carriedBy(a *balance.Attempt) {
	r.body.mu.Lock()
	defer r.body.mu.Unlock()
	if r.over { // Caddy has buffered it already
		return
	}
	r.tells = a
	a.MarkSending()
}

func (r *replayReader) Read(p []byte) (int, error) {
	b := r.body
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := r.readLocked(p)
	r.sent.Add(int64(n))
	if errors.Is(err, io.EOF) && !r.over {
		if r.over = true; r.tells != nil {
			r.tells.Sent(clock())
		}
	}
	return n, err
}

func (r *replayReader) readLocked(p []byte) (int, error) {
	b := r.body
	if r.at < len(b.kept) {
		n := copy(p, b.kept[r.at:])
		r.at += n
		return n, nil
	}
	if b.lost.Load() && b.owner != r {
		return 0, errBodyGone
	}
	if b.end != nil {
		return 0, b.end
	}
	n, err := b.src.Read(p)
	b.end = err
	if n == 0 || b.lost.Load() {
		return n, err
	}
	if int64(len(b.kept)+n) > b.limit {
		b.lost.Store(true)
		b.owner, b.kept = r, nil
		return n, err
	}
	b.kept = append(b.kept, p[:n]...)
	r.at = len(b.kept)
	return n, err
}

// Close does nothing: the server closes the body when the handler returns.
func (r *replayReader) Close() error { return nil }

// responseBody counts what a backend sends and how long it is waited for, and notes whether
// the answer broke off.
type responseBody struct {
	io.ReadCloser
	n      int64
	err    error
	from   time.Duration // of the first byte, until the first Read
	waited time.Duration // in Read: a client that reads slowly makes it no longer
}

func (b *responseBody) Read(p []byte) (int, error) {
	from := b.from
	if b.from = 0; from == 0 {
		from = clock()
	}
	n, err := b.ReadCloser.Read(p)
	b.waited += clock() - from
	b.n += int64(n)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// longestAnswer is what a backend may be waited for in one answer: past it that is a stream,
// whose length says nothing of the backend.
const longestAnswer = time.Minute

// rest returns how long the rest of an answer that came to its end was waited for, below 0
// when that says nothing.
func (b *responseBody) rest() time.Duration {
	if b.err != nil || b.waited > longestAnswer {
		return -1
	}
	return b.waited
}

// endless reports whether an answer is a stream of events: it goes on for as long as there
// is something to tell.
func endless(res *http.Response) bool {
	return res.StatusCode == http.StatusSwitchingProtocols ||
		strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream")
}

// upgradedBody is the connection behind a 101 answer. It counts both ways and keeps
// half-close.
type upgradedBody struct {
	io.ReadWriteCloser
	in, out *atomic.Int64
}

func (b *upgradedBody) Read(p []byte) (int, error) {
	n, err := b.ReadWriteCloser.Read(p)
	b.in.Add(int64(n))
	return n, err
}

func (b *upgradedBody) Write(p []byte) (int, error) {
	n, err := b.ReadWriteCloser.Write(p)
	b.out.Add(int64(n))
	return n, err
}

// CloseWrite passes a half-close on where the connection can do it.
func (b *upgradedBody) CloseWrite() error {
	if c, ok := b.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// hasBody reports whether r carries a body that an attempt would send. HTTP/3 gives a GET
// without a body an unknown length; upgrades and CONNECT have a stream instead.
func hasBody(r *http.Request) bool {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 || r.Header.Get("Upgrade") != "" {
		return false
	}
	if r.ContentLength < 0 {
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodConnect:
			return false
		}
	}
	return true
}
