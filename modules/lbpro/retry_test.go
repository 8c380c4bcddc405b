package lbpro

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// reset reads the request and then breaks the connection instead of answering.
func reset(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// refused returns a backend that nobody listens for.
func refused(t testing.TB) *server {
	t.Helper()
	return &server{addr: freeAddr(t)}
}

// echo answers with the request's body.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Write(body)
}

// inOrder makes the first backend the first choice of every request, so that a test knows
// which attempt fails.
const inOrder = "policy first\neject off\n"

func TestSafeRequestsAreTriedElsewhere(t *testing.T) {
	big := strings.Repeat("x", 100<<10)
	for _, c := range []struct {
		name    string
		options string
		bad     func(testing.TB) *server
		method  string
		body    string
		header  string
		code    int // 200 when the second backend answers
		bad1    int64
	}{
		{name: "GET after 500", bad: failing(status(500)), method: "GET", code: 200, bad1: 1},
		{name: "GET after 503", bad: failing(status(503)), method: "GET", code: 200, bad1: 1},
		{name: "GET after reset", bad: failing(reset), method: "GET", code: 200, bad1: 1},
		{name: "GET after refusal", bad: refused, method: "GET", code: 200},
		{name: "HEAD after 500", bad: failing(status(500)), method: "HEAD", code: 200, bad1: 1},
		{name: "501 speaks of the request", bad: failing(status(501)), method: "GET", code: 501, bad1: 1},
		{name: "404 is an answer", bad: failing(status(404)), method: "GET", code: 404, bad1: 1},
		{name: "429 is an answer", bad: failing(status(429)), method: "GET", code: 429, bad1: 1},
		{name: "POST after 500", bad: failing(status(500)), method: "POST", body: "b", code: 500, bad1: 1},
		{name: "POST after reset", bad: failing(reset), method: "POST", body: "b", code: 502, bad1: 1},
		{name: "POST without body after reset", bad: failing(reset), method: "POST", code: 502, bad1: 1},
		{name: "POST after refusal", bad: refused, method: "POST", body: "b", code: 200},
		{name: "POST with a key after 500", bad: failing(status(500)), method: "POST", body: "b", header: "Idempotency-Key", code: 200, bad1: 1},
		{name: "PATCH after 500", bad: failing(status(500)), method: "PATCH", body: "b", code: 500, bad1: 1},
		{name: "PUT after reset", bad: failing(reset), method: "PUT", body: "b", code: 200, bad1: 1},
		{name: "DELETE after 502", bad: failing(status(502)), method: "DELETE", code: 200, bad1: 1},
		{name: "large PUT after reset", bad: failing(reset), method: "PUT", body: big, code: 502, bad1: 1},
		{name: "large PUT after refusal", bad: refused, method: "PUT", body: big, code: 200},
		{name: "large PUT within max_body", options: "retry {\nmax_body 1MiB\n}", bad: failing(reset), method: "PUT", body: big, code: 200, bad1: 1},
		{name: "large PUT within request_buffers", options: "request_buffers 1MiB", bad: failing(reset), method: "PUT", body: big, code: 200, bad1: 1},
		{name: "large PUT with unlimited request_buffers", options: "request_buffers unlimited", bad: failing(reset), method: "PUT", body: big, code: 200, bad1: 1},
		{name: "large POST within request_buffers after refusal", options: "request_buffers unlimited", bad: refused, method: "POST", body: big, code: 200},
		{name: "retry off", options: "retry off", bad: failing(status(500)), method: "GET", code: 500, bad1: 1},
		{name: "one attempt", options: "retry {\nattempts 1\n}", bad: refused, method: "GET", code: 502},
		{name: "no budget", options: "retry {\nbudget 0\n}", bad: failing(status(500)), method: "GET", code: 500, bad1: 1},
		{name: "retry_match names POST", options: "lb_retry_match method POST", bad: failing(reset), method: "POST", body: "b", code: 200, bad1: 1},
		{name: "retry_match names another path", options: "lb_retry_match {\nmethod POST\npath /other\n}", bad: failing(reset), method: "POST", body: "b", code: 502, bad1: 1},
		{name: "retry_match names a status", options: "lb_retry_match `{rp.status_code} == 418`", bad: failing(status(418)), method: "GET", code: 200, bad1: 1},
		{name: "retry_match names a status of POST", options: "lb_retry_match `{rp.status_code} == 418`", bad: failing(status(418)), method: "POST", body: "b", code: 200, bad1: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad, good := c.bad(t), serve(t, echo)
			s, p := startPool(t, inOrder+c.options, bad, good)
			req := s.request(c.method, "/", strings.NewReader(c.body))
			if c.header != "" {
				req.Header.Set(c.header, "k1")
			}
			r := s.send(req)
			want := ""
			if c.code == 200 && c.method != "HEAD" {
				want = c.body
			}
			if r.StatusCode != c.code || r.body != want {
				t.Errorf("answer is %d with %d bytes, want %d with %d", r.StatusCode, len(r.body), c.code, len(want))
			}
			if n := bad.hits.Load(); n != c.bad1 {
				t.Errorf("the bad backend was asked %d times, want %d", n, c.bad1)
			}
			idle(t, p)
			retried := int64(0)
			if c.code == 200 {
				retried = 1
			}
			if n := p.Backends()[1].Totals.Retries.Load(); n != retried || good.hits.Load() != retried {
				t.Errorf("%d repeats counted, %d seen by the good backend; want %d", n, good.hits.Load(), retried)
			}
		})
	}
}

func failing(h http.HandlerFunc) func(testing.TB) *server {
	return func(t testing.TB) *server { return serve(t, h) }
}

// No backend is asked twice while another is untried, and no request is tried more often
// than it may be.
func TestEachBackendIsTriedOnce(t *testing.T) {
	for _, policy := range []string{"adaptive", "p2c", "random", "round_robin", "uri_hash"} {
		t.Run(policy, func(t *testing.T) {
			var mu sync.Mutex
			seen := make(map[string][]string)
			var servers []*server
			for range 5 {
				s := serve(t, nil)
				s.turn(func(w http.ResponseWriter, r *http.Request) {
					mu.Lock()
					seen[r.URL.Path] = append(seen[r.URL.Path], s.addr)
					mu.Unlock()
					w.WriteHeader(500)
				})
				servers = append(servers, s)
			}
			s, p := startPool(t, "eject off\nqueue off\npolicy "+policy+"\nretry {\nattempts 9\nbackoff 1ms 1ms\n}", servers...)
			for i := range 20 {
				s.get(fmt.Sprintf("/%d", i)).want(t, 500, "")
			}
			for path, list := range seen {
				slices.Sort(list)
				if n := len(list); n != len(servers) || len(slices.Compact(list)) != n {
					t.Errorf("%s was tried at %q, want each backend once", path, list)
				}
			}
			idle(t, p)
		})
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	var servers []*server
	for range 6 {
		servers = append(servers, serve(t, status(500)))
	}
	for options, want := range map[string]int64{
		"":                         4,
		"retry {\nattempts 2\n}":   2,
		"lb_retries 2":             3,
		"retry {\nattempts 100\n}": 6,
	} {
		t.Run(options, func(t *testing.T) {
			s, p := startPool(t, "eject off\nqueue off\n"+options, servers...)
			s.get("/").want(t, 500, "")
			idle(t, p)
			if n := attempts(p); n != want {
				t.Errorf("%d attempts, want %d", n, want)
			}
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	busy := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "20")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	s, p := startPool(t, "", busy, serve(t, say("ok")))
	for range 40 {
		s.get("/").want(t, 200, "ok")
	}
	if n := busy.hits.Load(); n > 1 {
		t.Errorf("a backend that asked for rest was sent %d requests, want 1 at most", n)
	}
	if p.Get(busy.addr).State() != balance.Serving {
		t.Errorf("a backend that is only busy is %v", p.Get(busy.addr).State())
	}
}

// A backend that asks for rest is still better than none.
func TestRetryAfterOfTheOnlyBackend(t *testing.T) {
	n := 0
	busy := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if n++; n == 1 {
			w.Header().Set("Retry-After", "20")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	s, _ := startPool(t, "", busy)
	r := s.get("/")
	r.want(t, 503, "")
	if r.Header.Get("Retry-After") != "20" {
		t.Errorf("Retry-After is %q, want the backend's", r.Header.Get("Retry-After"))
	}
	s.get("/").want(t, 200, "")
}

func TestPerTryTimeout(t *testing.T) {
	const options = inOrder + "retry {\nper_try_timeout 100ms\n}"
	t.Run("tried elsewhere", func(t *testing.T) {
		s, p := startPool(t, options, serve(t, hang), serve(t, say("ok")))
		s.get("/").want(t, 200, "ok")
		idle(t, p)
	})
	t.Run("nobody else", func(t *testing.T) {
		s, p := startPool(t, options+"\nqueue off", serve(t, hang))
		s.get("/").want(t, http.StatusGatewayTimeout, "")
		idle(t, p)
	})
	t.Run("not repeatable", func(t *testing.T) {
		other := serve(t, say("ok"))
		s, _ := startPool(t, options, serve(t, hang), other)
		s.send(s.request(http.MethodPost, "/", strings.NewReader("b"))).want(t, http.StatusGatewayTimeout, "")
		if n := other.hits.Load(); n != 0 {
			t.Errorf("a POST that was sent went to another backend %d times", n)
		}
	})
	t.Run("not the body", func(t *testing.T) {
		release := make(chan struct{})
		s, p := startPool(t, options, serve(t, func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "begin ")
			w.(http.Flusher).Flush()
			<-release
			io.WriteString(w, "end")
		}))
		res, err := client.Do(s.request(http.MethodGet, "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		first := make([]byte, 6)
		io.ReadFull(res.Body, first)
		// Well past the limit, which is one of the first byte only.
		began := clock()
		eventually(t, "the limit has passed", func() bool { return clock()-began > 3*100e6 })
		close(release)
		if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "end" {
			t.Errorf("the rest is %q (%v), want end", rest, err)
		}
		idle(t, p)
	})
}

// Of requests that all fail at once only a share is repeated.
func TestBudgetHolds(t *testing.T) {
	const clients, share = 50, 10
	var arrived sync.WaitGroup
	arrived.Add(clients)
	release := make(chan struct{})
	bad := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		arrived.Done()
		arrived.Wait()
		w.WriteHeader(500)
	})
	second := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		<-release
		io.WriteString(w, "ok")
	})
	s, p := startPool(t, inOrder+"hedge off\nretry {\nbudget 0.2\nmin_concurrency 0\n}", bad, second)
	codes := make(chan int, clients)
	for range clients {
		go func() {
			r, err := fetch(s.request(http.MethodGet, "/", nil))
			if err != nil {
				t.Error(err)
				codes <- 0
				return
			}
			codes <- r.StatusCode
		}()
	}
	count := make(map[int]int)
	for range clients - share {
		count[<-codes]++
	}
	close(release)
	for range share {
		count[<-codes]++
	}
	if count[200] == 0 || count[200] > share || count[200]+count[500] != clients {
		t.Errorf("answers by code are %v, want 1 to %d repeated with success and the others 500", count, share)
	}
	if n := p.Budget.Denied(); n < clients-share {
		t.Errorf("%d repeats were denied, want at least %d", n, clients-share)
	}
	idle(t, p)
}

// What the configuration says of requests holds for each attempt with its own upstream.
func TestHeadersNameTheUpstreamOfTheAttempt(t *testing.T) {
	tell := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s|%s|%s", r.Header.Get("X-To"), r.Header["X-Once"], r.Header.Get("X-Forwarded-For"))
	}
	bad, good := serve(t, reset), serve(t, tell)
	s, _ := startPool(t, inOrder+`
		header_up X-To {upstream_hostport}
		header_up +X-Once v
		header_down X-From {upstream_hostport}`, bad, good)
	r := s.get("/")
	r.want(t, 200, good.addr+"|[v]|127.0.0.1")
	if v := r.Header.Get("X-From"); v != good.addr {
		t.Errorf("header_down names %q, want %q", v, good.addr)
	}
	if v := r.Header.Values("Via"); len(v) != 1 {
		t.Errorf("Via is %q, want it once", v)
	}
}

func TestHandleResponse(t *testing.T) {
	const options = inOrder + `
		@gone status 410
		handle_response @gone {
			respond "was {rp.status_code} at {upstream_hostport}" 200
		}
		@err status 5xx
		replace_status @err 503`
	bad, good := serve(t, reset), serve(t, status(http.StatusGone))
	s, p := startPool(t, options, bad, good)
	s.get("/").want(t, 200, "was 410 at "+good.addr)
	idle(t, p)
	if n := p.Get(good.addr).Totals.Codes[4].Load(); n != 1 {
		t.Errorf("%d answers of class 4xx were counted, want what the backend sent", n)
	}

	good.turn(status(500))
	s.get("/").want(t, 503, "")
	idle(t, p)
}

// A body of which a part was sent when the connection broke is replayed from its beginning
// while the rest still comes in.
func TestBodyIsReplayedWhileItComesIn(t *testing.T) {
	broken := make(chan struct{})
	bad := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.ReadFull(r.Body, make([]byte, 5))
		conn, _, _ := w.(http.Hijacker).Hijack()
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
		close(broken)
	})
	good := serve(t, echo)
	s, p := startPool(t, inOrder, bad, good)
	pr, pw := io.Pipe()
	go func() {
		io.WriteString(pw, "first")
		<-broken
		io.WriteString(pw, " second")
		io.WriteString(pw, " third")
		pw.Close()
	}()
	r := s.send(s.request(http.MethodPut, "/", pr))
	r.want(t, 200, "first second third")
	idle(t, p)
}

func TestManyBodiesReplayed(t *testing.T) {
	bad, good := serve(t, reset), serve(t, echo)
	s, p := startPool(t, inOrder, bad, good)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				body := bytes.Repeat([]byte{byte('a' + i)}, 1+j*1000)
				r, err := fetch(s.request(http.MethodPut, "/", bytes.NewReader(body)))
				if err != nil || r.StatusCode != 200 || r.body != string(body) {
					t.Errorf("PUT of %d bytes: %d, %d bytes back (%v)", len(body), r.StatusCode, len(r.body), err)
				}
			}
		})
	}
	wg.Wait()
	idle(t, p)
}
