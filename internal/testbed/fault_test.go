package testbed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"
)

func TestErrorFault(t *testing.T) {
	b := start(t, BackendConfig{Faults: []Fault{{Kind: Error, Code: 503, RetryAfter: 1500 * time.Millisecond}}})
	resp, err := get(t, b, 10*time.Second, maxDemand)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "2" {
		t.Errorf("answer is %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	if s := b.Stats(); s.Failed != 1 || s.Answered != 0 {
		t.Errorf("stats: %+v", s)
	}
}

func TestHangFault(t *testing.T) {
	b := start(t, BackendConfig{})
	caught := inside(t, b, 50*time.Millisecond)
	if err := b.Inject(Fault{Kind: Hang}); err != nil {
		t.Fatal(err)
	}
	await(t, "the request inside hangs", func() bool { return b.Stats().Hung == 1 })
	_, err := get(t, b, 100*time.Millisecond, 0)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a hanging backend gave %v", err)
	}
	b.Heal()
	if resp, err := get(t, b, 10*time.Second, 0); err != nil || resp.StatusCode != 200 {
		t.Errorf("after the fault: %v, %v", resp, err)
	}
	select {
	case err := <-caught:
		t.Errorf("a request caught by a hang ended: %v", err)
	default:
	}
	if s := b.Stats(); s.Hung != 2 {
		t.Errorf("stats: %+v", s)
	}
}

func TestRefuseFault(t *testing.T) {
	b := start(t, BackendConfig{})
	kept, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	fmt.Fprint(kept, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	idle := bufio.NewReader(kept)
	if resp, err := http.ReadResponse(idle, nil); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	caught := inside(t, b, 200*time.Millisecond)
	if err := b.Inject(Fault{Kind: Refuse}); err != nil {
		t.Fatal(err)
	}
	await(t, "connection refused", func() bool {
		_, err := get(t, b, 10*time.Second, 0)
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	if _, err := idle.ReadByte(); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an idle connection is not closed: %v", err)
	}
	if err := <-caught; err != nil {
		t.Errorf("the request inside was not answered: %v", err)
	}
	b.Heal()
	await(t, "the port is open again", func() bool {
		resp, err := get(t, b, 10*time.Second, 0)
		return err == nil && resp.StatusCode == 200
	})
}

func TestResetFault(t *testing.T) {
	b := start(t, BackendConfig{})
	caught := inside(t, b, maxDemand)
	if err := b.Inject(Fault{Kind: Reset}); err != nil {
		t.Fatal(err)
	}
	if err := <-caught; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the request inside ended with %v", err)
	}
	if _, err := get(t, b, 10*time.Second, 0); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a resetting backend gave %v", err)
	}
	if s := b.Stats(); s.Reset != 2 {
		t.Errorf("stats: %+v", s)
	}
}

func TestPauseFault(t *testing.T) {
	b := start(t, BackendConfig{})
	caught := inside(t, b, 100*time.Millisecond)
	if err := b.Inject(Fault{Kind: Pause}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	select {
	case err := <-caught:
		t.Errorf("ended while paused: %v", err)
	default:
	}
	b.Heal()
	if err := <-caught; err != nil {
		t.Errorf("after the pause: %v", err)
	}
}

func TestRestartFault(t *testing.T) {
	b := start(t, BackendConfig{})
	caught := inside(t, b, maxDemand)
	err := b.Inject(Fault{Kind: Restart, For: 300 * time.Millisecond, Factor: 20, Ramp: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-caught; err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the request inside a crash ended with %v", err)
	}
	refused := false
	await(t, "the port is open again", func() bool {
		_, err := get(t, b, 10*time.Second, 0)
		refused = refused || errors.Is(err, syscall.ECONNREFUSED)
		return err == nil
	})
	if !refused {
		t.Error("no connection was refused while down")
	}
	began := time.Now()
	if _, err := get(t, b, 20*time.Second, 20*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	// The ramp of an hour has hardly begun: about 20 times 20 ms.
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("20 ms of work took a cold backend %s", took)
	}
}
