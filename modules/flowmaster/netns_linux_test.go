package flowmaster

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The tests here run in network namespaces of their own: the proxy in one, the backends in
// another, each reached over a veth pair of its own.

const (
	roleVariable = "FLOWMASTER_TEST_NAMESPACE"
	pathBackends = 5
	// The backends whose paths are made bad; those after them stay as they are.
	lossy, narrow = 0, 1
)

func backendIP(i int) string { return fmt.Sprintf("10.99.%d.2", i) }

// inNamespace runs the test once more, in a process with a network namespace of its own,
// and reports whether that is where it runs now.
func inNamespace(t *testing.T) bool {
	if os.Getenv(roleVariable) == "proxy" {
		return true
	}
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	for _, tool := range []string{"unshare", "nsenter", "ip", "tc", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no network namespace can be set up here: %v", err)
		}
	}
	flags := []string{"--net"}
	if os.Geteuid() != 0 {
		flags = append(flags, "--user", "--map-root-user")
	}
	if out, err := exec.Command("unshare", append(flags, "ip", "link", "set", "lo", "up")...).CombinedOutput(); err != nil {
		t.Skipf("no network namespace can be made here: %v: %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", append(flags, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=4m")...)
	cmd.Env = append(os.Environ(), roleVariable+"=proxy")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if bytes.Contains(out, []byte("--- SKIP")) {
		t.Skipf("%s", out)
	}
	t.Logf("%s", out)
	return false
}

// command runs a command line; where that cannot be, the test cannot either.
func command(t *testing.T, format string, args ...any) {
	t.Helper()
	line := strings.Fields(fmt.Sprintf(format, args...))
	if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
		t.Skipf("%s: %v: %s", strings.Join(line, " "), err, out)
	}
}

// TestNamespaceBackends is no test: it is the process with the backends.
func TestNamespaceBackends(t *testing.T) {
	if os.Getenv(roleVariable) != "backends" {
		t.Skip("is run by the test of paths")
	}
	ln, err := net.Listen("tcp4", ":8080")
	if err != nil {
		t.Fatal(err)
	}
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		host, _, _ := net.SplitHostPort(r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
		io.WriteString(w, host)
	}))
	fmt.Println("backends are ready")
	io.Copy(io.Discard, os.Stdin) // until the other end goes away
}

// startOther starts a process that ends with its input, and returns that and what it prints.
func startOther(t *testing.T, cmd *exec.Cmd) (stdin io.WriteCloser, lines *bufio.Scanner) {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); cmd.Wait() })
	return stdin, bufio.NewScanner(stdout)
}

// startNamespaceBackends starts the backends, links every one of them to here, and returns
// how commands are run beside them.
func startNamespaceBackends(t *testing.T) (beside string) {
	t.Helper()
	cmd := exec.Command("unshare", "--net", os.Args[0], "-test.run=^TestNamespaceBackends$", "-test.v")
	cmd.Env = append(os.Environ(), roleVariable+"=backends")
	cmd.Stderr = os.Stderr
	_, lines := startOther(t, cmd)
	for ready := false; !ready; ready = lines.Text() == "backends are ready" {
		if !lines.Scan() {
			t.Fatal("the backends have not started")
		}
	}
	go func() {
		for lines.Scan() { // what it says must not fill the pipe
		}
	}()
	beside = fmt.Sprintf("nsenter --net=/proc/%d/ns/net", cmd.Process.Pid)
	command(t, "ip link set lo up")
	for i := range pathBackends {
		command(t, "ip link add v%d type veth peer name w%d netns %d", i, i, cmd.Process.Pid)
		command(t, "ip addr add 10.99.%d.1/24 dev v%d", i, i)
		command(t, "ip link set v%d up", i)
		command(t, "%s ip addr add %s/24 dev w%d", beside, backendIP(i), i)
		command(t, "%s ip link set w%d up", beside, i)
	}
	return beside
}

// pathLoad sends requests until the test ends, and counts who answers.
type pathLoad struct {
	mu     sync.Mutex
	counts map[string]int
	failed atomic.Int64
}

func (l *pathLoad) run(t *testing.T, addr string) {
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}, Timeout: patience}
	body := make([]byte, 4096)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
				res, err := hc.Post("http://"+addr, "text/plain", bytes.NewReader(body))
				if err != nil {
					l.failed.Add(1)
					continue
				}
				who, _ := io.ReadAll(res.Body)
				res.Body.Close()
				l.mu.Lock()
				l.counts[string(who)]++
				l.mu.Unlock()
			}
		})
	}
	t.Cleanup(func() { close(stop); wg.Wait() })
}

// share returns how much of the next requests a backend answers, against the mean of those
// whose path is good.
func (l *pathLoad) share(ip string) float64 {
	l.mu.Lock()
	clear(l.counts)
	l.mu.Unlock()
	for range 1000 {
		time.Sleep(20 * time.Millisecond)
		l.mu.Lock()
		one, total, good := l.counts[ip], 0, 0
		for i := range pathBackends {
			n := l.counts[backendIP(i)]
			total += n
			if i > narrow {
				good += n
			}
		}
		l.mu.Unlock()
		if total >= 500 && good > 0 {
			return float64(one) / (float64(good) / float64(pathBackends-narrow-1))
		}
	}
	return math.NaN()
}

// A backend whose path loses packets, and one whose path is narrow, show within seconds and
// get less of the traffic; when the paths are well again they get their share back. The
// policy goes by weights alone, so that nothing but the path can move traffic.
func TestPathsMoveTraffic(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	beside := startNamespaceBackends(t)
	var upstreams []string
	for i := range pathBackends {
		upstreams = append(upstreams, backendIP(i)+":8080")
	}
	addr := freeAddr(t)
	startCaddy(t, proxySite(addr, "http", fmt.Sprintf("lbpro %s {\n\tpool p\n\tpolicy smooth_round_robin\n\teject off\n\thedge off\n\tslow_start off\n}", strings.Join(upstreams, " "))))
	load := &pathLoad{counts: make(map[string]int)}
	load.run(t, addr)
	health := func(i int) Health {
		r := theProcess().health.Load()
		if r == nil {
			return Health{}
		}
		return r.by[upstreams[i]]
	}
	show := func(when string) {
		for i := range upstreams {
			h := health(i)
			t.Logf("%s: %s score %.2f, sent again %.2f %%, round trip × %.1f, %d readings", when, h.Backend, h.Score, 100*h.RetransRatio, h.RTTInflation, h.Samples)
		}
	}
	eventually(t, "all paths are good", func() bool {
		for i := range upstreams {
			if h := health(i); h.Samples < pathMinSamples || h.Score < 0.95 {
				return false
			}
		}
		return true
	})
	show("before")

	began := time.Now()
	command(t, "%s nft add table inet t", beside)
	command(t, "%s nft add chain inet t in { type filter hook input priority 0 ; }", beside)
	command(t, "%s nft add rule inet t in ip daddr %s numgen random mod 100 < 3 drop", beside, backendIP(lossy))
	eventually(t, "the lossy path shows", func() bool { h := health(lossy); return h.RetransRatio > 0.01 && h.Score < 0.7 })
	t.Logf("the lossy path shows after %v", time.Since(began).Round(100*time.Millisecond))
	began = time.Now()
	command(t, "tc qdisc add dev v%d root tbf rate 1mbit burst 16kb latency 400ms", narrow)
	eventually(t, "the narrow path shows", func() bool { h := health(narrow); return h.RTTInflation > 3 && h.Score < 0.7 })
	t.Logf("the narrow path shows after %v", time.Since(began).Round(100*time.Millisecond))
	for _, i := range []int{lossy, narrow} {
		eventually(t, "traffic moves away from "+upstreams[i], func() bool { return load.share(backendIP(i)) < 0.75 })
	}
	t.Logf("traffic has moved after %v", time.Since(began).Round(100*time.Millisecond))
	show("during")
	for i := range upstreams {
		if h := health(i); i > narrow && h.Score < 0.9 {
			t.Errorf("a good path has score %.2f", h.Score)
		}
	}

	began = time.Now()
	command(t, "%s nft delete table inet t", beside)
	command(t, "tc qdisc del dev v%d root", narrow)
	for _, i := range []int{lossy, narrow} {
		eventually(t, "traffic comes back to "+upstreams[i], func() bool { return load.share(backendIP(i)) > 0.9 })
	}
	t.Logf("traffic is back after %v", time.Since(began).Round(100*time.Millisecond))
	show("after")
	if n := load.failed.Load(); n > 0 {
		t.Errorf("%d requests failed", n)
	}
}
