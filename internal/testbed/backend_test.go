package testbed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func start(t *testing.T, cfg BackendConfig) *Backend {
	t.Helper()
	b, err := StartBackend(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// get sends one request on a connection of its own.
func get(t *testing.T, b *Backend, timeout, demand time.Duration) (*http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(DemandHeader, strconv.FormatInt(int64(demand), 10))
	tr := &http.Transport{DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return resp, err
}

// await polls a condition that other goroutines bring about.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for range 5000 {
		if cond() {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatalf("never happened: %s", what)
}

// inside sends a request that stays inside the backend and returns its outcome later.
func inside(t *testing.T, b *Backend, demand time.Duration) <-chan error {
	t.Helper()
	busy := b.Stats().Busy
	ch := make(chan error, 1)
	go func() {
		_, err := get(t, b, 20*time.Second, demand)
		ch <- err
	}()
	await(t, "a worker takes the request up", func() bool { return b.Stats().Busy == busy+1 })
	return ch
}

func TestBackendAnswers(t *testing.T) {
	b := start(t, BackendConfig{Name: "one", Body: 300})
	began := time.Now()
	resp, err := get(t, b, 10*time.Second, 30*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 30*time.Millisecond {
		t.Errorf("30 ms of work took %s", took)
	}
	if resp.StatusCode != 200 || resp.ContentLength != 300 || resp.Header.Get(BackendHeader) != "one" {
		t.Errorf("answer is %d, %d bytes, by %q", resp.StatusCode, resp.ContentLength, resp.Header.Get(BackendHeader))
	}
	if s := b.Stats(); s.Received != 1 || s.Answered != 1 || s.Between(0, time.Minute) != 1 {
		t.Errorf("stats: %+v", s)
	}
}

func TestBackendDrawsItsOwnDemand(t *testing.T) {
	b := start(t, BackendConfig{Service: Deterministic(25 * time.Millisecond), Speed: 0.5})
	began := time.Now()
	resp, err := http.Get(b.URL())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("25 ms of work at half speed took %s", took)
	}
}

func TestBackendRejectsHostileHeaders(t *testing.T) {
	b := start(t, BackendConfig{})
	for _, v := range []string{"-1", "x", "99999999999999999999", strconv.FormatInt(int64(maxDemand)+1, 10)} {
		conn, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: h\r\n%s: %s\r\n%s: %s\r\n\r\n", DemandHeader, v, HoldHeader, v)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("header %q: %v, %v", v, resp, err)
		}
		conn.Close()
	}
}

// Two workers do three equal jobs in two rounds, in order of arrival.
func TestStationOrder(t *testing.T) {
	b := start(t, BackendConfig{Workers: 2})
	var mu sync.Mutex
	var order []int
	var wg sync.WaitGroup
	for i, demand := range []time.Duration{60 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond} {
		wg.Go(func() {
			if _, err := get(t, b, 20*time.Second, demand); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			order = append(order, i)
		})
		await(t, "arrival", func() bool { return b.Stats().Received == int64(i+1) })
	}
	wg.Wait()
	if fmt.Sprint(order) != "[1 0 2]" {
		t.Errorf("finished in order %v", order)
	}
}

func TestQueueFull(t *testing.T) {
	b := start(t, BackendConfig{Queue: 1})
	first := inside(t, b, 300*time.Millisecond)
	second := make(chan error, 1)
	go func() { _, err := get(t, b, 20*time.Second, 0); second <- err }()
	await(t, "queued", func() bool { return b.Stats().Waiting == 1 })
	resp, err := get(t, b, 20*time.Second, 0)
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("past the queue: %v, %v", resp, err)
	}
	if err := errors.Join(<-first, <-second); err != nil {
		t.Error(err)
	}
}

func TestAbandonedJobs(t *testing.T) {
	b := start(t, BackendConfig{})
	first := inside(t, b, 200*time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, b.URL(), nil)
		req.Header.Set(DemandHeader, strconv.Itoa(int(maxDemand)))
		if _, err := http.DefaultClient.Do(req); err == nil {
			t.Error("canceled request was answered")
		}
	}()
	await(t, "queued", func() bool { return b.Stats().Waiting == 1 })
	cancel()
	<-left
	await(t, "the abandoned job leaves the queue", func() bool { return b.Stats().Waiting == 0 })
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if resp, err := get(t, b, 20*time.Second, 0); err != nil || resp.StatusCode != 200 {
		t.Errorf("after an abandoned job of ten minutes: %v, %v", resp, err)
	}
	if s := b.Stats(); s.Aborted != 1 || s.Answered != 2 {
		t.Errorf("stats: %+v", s)
	}
}

func TestHoldTakesNoWorker(t *testing.T) {
	b := start(t, BackendConfig{})
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, b.URL(), nil)
	req.Header.Set(HoldHeader, strconv.Itoa(int(200*time.Millisecond)))
	began := time.Now()
	polled := make(chan time.Duration, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
		} else {
			resp.Body.Close()
		}
		polled <- time.Since(began)
	}()
	await(t, "arrival", func() bool { return b.Stats().Received == 1 })
	if s := b.Stats(); s.Busy != 0 {
		t.Errorf("a held request takes a worker: %+v", s)
	}
	if took := <-polled; took < 200*time.Millisecond {
		t.Errorf("held for %s", took)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestRequestBodyIsRead(t *testing.T) {
	b := start(t, BackendConfig{})
	resp, err := http.Post(b.URL(), "text/plain", strings.NewReader(strings.Repeat("x", 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestBeginStartsAnew(t *testing.T) {
	b := start(t, BackendConfig{})
	if err := b.Inject(Fault{Kind: Error}); err != nil {
		t.Fatal(err)
	}
	if resp, err := get(t, b, 10*time.Second, 0); err != nil || resp.StatusCode != 500 {
		t.Fatal(resp, err)
	}
	b.Begin(time.Now())
	if s := b.Stats(); s.Received != 0 || s.Failed != 0 {
		t.Errorf("stats after Begin: %+v", s)
	}
	if resp, err := get(t, b, 10*time.Second, 0); err != nil || resp.StatusCode != 200 {
		t.Errorf("an injected fault outlived Begin: %v, %v", resp, err)
	}
}

func TestCloseEndsRequests(t *testing.T) {
	b, err := StartBackend(BackendConfig{})
	if err != nil {
		t.Fatal(err)
	}
	working := inside(t, b, maxDemand)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := <-working; err == nil {
		t.Error("a request of ten minutes was answered at Close")
	}
	if _, err := net.Dial("tcp", b.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after Close: %v", err)
	}
}

func TestBadBackendConfig(t *testing.T) {
	for want, cfg := range map[string]BackendConfig{
		"Workers": {Workers: -1},
		"Queue":   {Queue: -1},
		"Speed":   {Speed: -1},
		"Body":    {Body: maxBody + 1},
		"Factor":  {Faults: []Fault{{Kind: Slow}}},
		"unknown": {Faults: []Fault{{}}},
		"Code":    {Faults: []Fault{{Kind: Error, Code: 700}}},
		"At":      {Faults: []Fault{{Kind: Hang, At: -1}}},
		"address": {Addr: "no address"},
	} {
		b, err := StartBackend(cfg)
		if err == nil {
			b.Close()
			t.Errorf("%s: no error", want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v", want, err)
		}
	}
}
