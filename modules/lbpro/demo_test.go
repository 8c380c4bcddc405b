package lbpro

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-lbpro/caddy-lbpro/internal/testbed"
)

// The demonstration serves its load, shows it, and leaves nothing behind.
func TestDemo(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	var out bytes.Buffer
	o := demoOptions{duration: 2500 * time.Millisecond, rate: 50, stock: true}
	if err := runDemo(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{"all backends are well", "a serving", "d serving", "After 00:0"} {
		if !strings.Contains(text, want) {
			t.Errorf("the demonstration does not print %q:\n%s", want, text)
		}
	}
	for _, side := range []string{"lbpro", "reverse_proxy"} {
		if !regexp.MustCompile(side + ` +[1-9][0-9]* requests, [0-9]+ failed`).MatchString(text) {
			t.Errorf("the summary lacks %s:\n%s", side, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("control sequences where there is no terminal: %q", text)
	}
	if len(allPools()) != 0 {
		t.Error("its pool is still there")
	}
	http.DefaultClient.CloseIdleConnections()
	goleak.VerifyNone(t, leaks)
}

func TestDemoEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out := &waiting{text: "all backends are well", times: 1, then: cancel}
	if err := runDemo(ctx, demoOptions{rate: 20}, out); err != nil {
		t.Fatalf("interrupted it fails: %v", err)
	}
	if !strings.Contains(out.String(), "After 00:0") || strings.Contains(out.String(), "reverse_proxy") {
		t.Errorf("interrupted at its first report, without the stock side, it prints\n%s", out.String())
	}
}

func TestDemoSaysWhatIsWrong(t *testing.T) {
	ln, err := net.Listen("tcp", freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	leaks := goleak.IgnoreCurrent()
	err = runDemo(t.Context(), demoOptions{rate: 1, httpPort: ln.Addr().(*net.TCPAddr).Port}, new(bytes.Buffer))
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("on a port that is taken: %v", err)
	}
	goleak.VerifyNone(t, leaks)
	refuses(t, []string{"--rate"}, "demo", "--rate", "0")
	refuses(t, []string{"--http-port"}, "demo", "--http-port", "70000")
	refuses(t, []string{"duration"}, "demo", "--duration", "-5s")
}

// On the least of usual terminals everything is to be seen that can be: all addresses, and
// the newest events.
func TestDemoOnASmallTerminal(t *testing.T) {
	began := time.Now()
	w := &demoWorld{admin: "127.0.0.1:20545", api: "127.0.0.1:31090"}
	for _, name := range []string{"lbpro", "reverse_proxy"} {
		w.sides = append(w.sides, &demoSide{name: name, addr: "127.0.0.1:25859", crowd: newCrowd("")})
	}
	v := &demoView{o: demoOptions{rate: 50}, world: w, play: newDemoPlay(nil, began), began: began, now: began, past: []demoSample{{at: began}}}
	const backends = 4 // rows that are not drawn here
	for i := range demoNews {
		v.news = append(v.news, "event "+strconv.Itoa(i))
	}
	for _, c := range []struct{ width, height, events int }{{80, 24, 2}, {200, 24, 4}, {80, 50, demoNews}, {200, 50, demoNews}} {
		lines := v.frame(false, c.width, c.height-backends)
		text := strings.Join(lines, "\n") + "\n"
		if len(lines)+backends > c.height {
			t.Errorf("%dx%d: %d lines", c.width, c.height, len(lines))
		}
		for _, want := range []string{
			"caddy lbpro status --why --address 127.0.0.1:20545\n", "curl http://127.0.0.1:25859/", "curl http://127.0.0.1:20545/metrics\n",
			"caddy analytics check --address 127.0.0.1:20545\n", "curl http://127.0.0.1:31090/api/stats", "/api/analytics/summary", "/api/analytics/correlation\n",
			"event 7\n",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%dx%d: no %q in\n%s", c.width, c.height, want, text)
			}
		}
		if n := strings.Count(text, "event "); n != c.events {
			t.Errorf("%dx%d: %d events, want %d:\n%s", c.width, c.height, n, c.events, text)
		}
	}
}

// Every act puts its fault on every victim, and takes it off before the next.
func TestDemoPlaysEveryAct(t *testing.T) {
	cluster, err := testbed.StartCluster(demoBackends()...)
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	began := time.Now()
	p := newDemoPlay([]*testbed.Backend{cluster.Backend(demoVictim)}, began)
	if _, on, left := p.now(began); on || left != demoPrelude {
		t.Errorf("it begins with an act (%v) or the first is in %v, want %v", on, left, demoPrelude)
	}
	now := began.Add(demoPrelude)
	for i := range len(demoActs) + 1 {
		want := demoActs[i%len(demoActs)]
		if err := cluster.Backend("a").Inject(want.fault); err != nil {
			t.Fatalf("act %q: %v", want.text, err)
		}
		cluster.Backend("a").Heal()
		until := p.turn(now)
		act, on, left := p.now(now)
		if !on || act.text != want.text || left != want.fault.For || until != now.Add(left) {
			t.Fatalf("act %d is %q (on: %v) for %v, want %q for %v", i, act.text, on, left, want.text, want.fault.For)
		}
		now = until
		until = p.turn(now)
		if _, on, left := p.now(now); on || left != demoRest {
			t.Fatalf("after act %d: on %v, rest %v", i, on, left)
		}
		now = until
	}
}

func TestCrowdCountsBySecond(t *testing.T) {
	c := newCrowd("")
	result := func(sent, ok int64, p99 time.Duration) *testbed.Result {
		r := &testbed.Result{Sent: sent, OK: ok, All: testbed.NewHistogram(), Failures: map[string]int64{}}
		r.All.Record(p99)
		return r
	}
	for n := range int64(100) {
		if n == 98 {
			continue // a second that is not over yet
		}
		good := int64(10)
		if n >= 95 {
			good = 5
		}
		c.add(n, result(10, good, 100*time.Millisecond))
	}
	s := c.seen()
	if s.sent != 990 || s.good != 970 {
		t.Errorf("%d of %d good, want 970 of 990", s.good, s.sent)
	}
	if s.recentSent != 90 || s.recentGood != 70 {
		t.Errorf("of the last ten seconds %d of %d good, want 70 of 90", s.recentGood, s.recentSent)
	}
	if n := len(s.p99); n != crowdSeconds-1 {
		t.Errorf("p99 of %d seconds, want %d", n, crowdSeconds-1)
	}
	stopped := result(10, 3, time.Second)
	stopped.Failures[testbed.FailureStopped] = 7
	c.add(100, stopped)
	if s := c.seen(); s.sent != 993 || s.good != 973 {
		t.Errorf("requests cut off by the end count: %d of %d", s.good, s.sent)
	}
}

func TestBarsAndSparklines(t *testing.T) {
	for x, want := range map[float64]string{0: "          ", 0.5: "█████     ", 0.0625: "▋         ", 1: "██████████"} {
		if got := bar(x, 10); got != want {
			t.Errorf("bar(%v) = %q, want %q", x, got, want)
		}
	}
	if got := sparkline([]time.Duration{0, 50 * time.Millisecond, 300 * time.Millisecond, 2 * time.Second, time.Minute}, 4); got != "▁▄██" {
		t.Errorf("sparkline %q", got)
	}
}
