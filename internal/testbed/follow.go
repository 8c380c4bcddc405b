package testbed

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

// Ports chosen for backends: below every system's ephemeral range (Linux begins at
// 32768, others at 49152) and above the usual services.
const (
	lowPort  = 20000
	highPort = 32000
)

// listen opens addr, or a random free port of loopback when addr is empty.
func listen(addr string) (net.Listener, error) {
	if addr != "" {
		return net.Listen("tcp", addr)
	}
	var err error
	for range 200 {
		var ln net.Listener
		ln, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowPort+rand.IntN(highPort-lowPort)))
		if err == nil {
			return ln, nil
		}
	}
	return nil, fmt.Errorf("no free port from %d to %d on loopback: %w", lowPort, highPort, err)
}

// FreeAddr returns a host:port of loopback that is free now, below the ephemeral ports
// so that no outgoing connection takes it before a server does.
func FreeAddr() (string, error) {
	ln, err := listen("")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// front is one life of the HTTP server before a station, from a listener's opening to
// its closing.
type front struct {
	server *http.Server
	served chan struct{} // closed when the accept loop has ended
}

func (b *Backend) open(ln net.Listener) *front {
	f := &front{served: make(chan struct{})}
	f.server = &http.Server{
		Handler:           http.HandlerFunc(b.handle),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(discard{}, "", 0),
	}
	go func() {
		defer close(f.served)
		// It returns when the server is closed; a listener on loopback has no
		// other lasting error.
		_ = f.server.Serve(ln)
	}()
	return f
}

// close ends the front at once, with every connection.
func (f *front) close() error {
	err := f.server.Close()
	<-f.served
	return err
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// follow carries out what the schedule says at each change of mode: it takes down
// the work inside, and closes and opens the port.
func (b *Backend) follow() {
	defer b.done.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for was := serving; ; {
		select {
		case <-b.ctx.Done():
			return
		case <-b.change:
		case <-timer.C:
		}
		seg, wait := b.upcoming()
		b.enter(was, seg.mode)
		was = seg.mode
		timer.Reset(wait)
	}
}

// upcoming returns the behaviour that holds and the time until it changes.
func (b *Backend) upcoming() (segment, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := time.Since(b.epoch)
	i := b.plan.index(t)
	until := b.plan.until(i)
	if until == forever {
		return b.plan.segments[i], time.Hour // a change of plan wakes earlier
	}
	return b.plan.segments[i], until - t
}

// enter brings port and station from one mode into another.
func (b *Backend) enter(was, is mode) {
	if is != was && (segment{mode: is}).kills() {
		b.station.kill(killedBy(is))
	}
	closed := is == refusing || is == down
	b.mu.Lock()
	f := b.front
	if closed {
		b.front = nil
	}
	b.mu.Unlock()
	switch {
	case f == nil && !closed:
		b.reopen()
	case f != nil && is == down:
		_ = f.close()
	case f != nil && is == refusing:
		b.done.Add(1)
		go func() {
			defer b.done.Done()
			if err := f.server.Shutdown(b.ctx); errors.Is(err, context.Canceled) {
				_ = f.server.Close()
			}
			<-f.served
		}()
	}
}

// reopen listens on the backend's port again. Another process may hold it for a
// moment, so it tries until it succeeds or the backend is closed.
func (b *Backend) reopen() {
	for {
		ln, err := net.Listen("tcp", b.addr)
		if err == nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.ctx.Err() != nil {
				_ = ln.Close()
				return
			}
			b.front = b.open(ln)
			return
		}
		select {
		case <-b.ctx.Done():
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
}
