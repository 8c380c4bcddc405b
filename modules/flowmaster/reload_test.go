package flowmaster

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// openSockets lists the open sockets of this process, with what the kernel says of them,
// where that can be seen.
func openSockets(t *testing.T) (list []string) {
	t.Helper()
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("open files cannot be listed here: %v", err)
	}
	for _, e := range dir {
		to, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if inode, ok := strings.CutPrefix(to, "socket:["); ok {
			list = append(list, kernelLine(strings.TrimSuffix(inode, "]")))
		}
	}
	return list
}

// kernelLine finds the socket with an inode in the kernel's tables.
func kernelLine(inode string) string {
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6", "unix", "netlink"} {
		text, _ := os.ReadFile("/proc/self/net/" + table)
		for line := range strings.Lines(string(text)) {
			if slices.Contains(strings.Fields(line), inode) {
				return table + " " + strings.TrimSpace(line)
			}
		}
	}
	return "in no table: " + inode
}

// Many reloads under traffic, with everything on, leave no goroutine, socket or connection
// behind, and lose no count: every octet that the backends sent and received is there,
// whatever configuration its connection began with. A connection that is upgraded stays open
// through all of them.
func TestReloadsLeakNothing(t *testing.T) {
	b := startBackend(t, nil, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	echo := startUpgrader(t, func(conn net.Conn, rw *bufio.ReadWriter) {
		for {
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprint(rw, line)
			rw.Flush()
		}
	})
	addr, port := freeAddr(t), freePort(t)
	asFile := filepath.Join(t.TempDir(), "asn.mmdb")
	replace(t, asFile, database("GeoLite2-ASN", asn(64500, "Example Net"), "127.0.0.0/8"))
	text := func(i int) string {
		site := proxySite(addr, "http", fmt.Sprintf("header X-Config %d\n\thandle /echo {\n\tlbpro %s {\n\tpool echo\n\tstream_close_delay 1h\n}\n}\n\thandle {\n\tlbpro %s {\n\tpool p\n}\n}", i, echo.addr, b.addr))
		return strings.Replace(site, "sweep_interval 1s", fmt.Sprintf(
			"sweep_interval 1s\n\t\tgeoip %s\n\t\tcollector netflow {\n\t\t\tlisten 127.0.0.1:%d\n\t\t}\n\t\texport udp/127.0.0.1:9\n\t\thost {\n\t\t\tsockets\n\t\t}", asFile, port), 1)
	}
	config := func(i int) []byte { return adapt(t, text(i)) }
	startCaddy(t, text(-1000))
	var client tally
	conn, err := client.dial(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /echo HTTP/1.1\r\nHost: "+addr+"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	said := bufio.NewReader(conn)
	if res, err := http.ReadResponse(said, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answer is %v: %v", res, err)
	}
	say := func(i int) {
		t.Helper()
		conn.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(conn, "%d\n", i)
		if line, err := said.ReadString('\n'); line != fmt.Sprintf("%d\n", i) {
			t.Fatalf("after reload %d the echo is %q: %v", i, line, err)
		}
	}
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	get := func() {
		t.Helper()
		for range 50 { // while listeners are swapped the kernel may reset a connection
			if res, err := hc.Get("http://" + addr); err == nil {
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				return
			}
		}
		t.Fatal("no answer")
	}
	up := endpointKey{leg: flow.LegUpstream, pool: "p", backend: b.addr}
	settle := func() {
		t.Helper()
		eventually(t, "connections end", func() bool {
			p := theProcess()
			return endpointOf(t, clients()).active.Load() == 1 && int(endpointOf(t, up).active.Load())+1 == p.upstream.len()
		})
	}
	for i := range 5 { // what is made once
		if err := caddy.Load(config(-i), true); err != nil {
			t.Fatal(err)
		}
		get()
	}
	settle()
	p := theProcess()
	goroutines, sockets, count := runtime.NumGoroutine(), len(openSockets(t)), countStates()
	n := 1000
	if testing.Short() || raceEnabled {
		n = 100
	}
	for i := range n {
		if err := caddy.Load(config(i), true); err != nil {
			t.Fatal(err)
		}
		get()
		say(i)
	}
	settle()
	if theProcess() != p || countStates() != count {
		t.Errorf("%d states, there were %d", countStates(), count)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%d sockets before; what is open now:\n%s", sockets, strings.Join(openSockets(t), "\n"))
		}
	})
	eventually(t, "as many sockets as before", func() bool { return len(openSockets(t)) <= sockets+2 })
	eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines+5 })
	b.server.Close()
	exactly(t, "backend", endpointOf(t, up), &b.tally)
	conn.Close()
	upEcho := endpointOf(t, endpointKey{leg: flow.LegUpstream, pool: "echo", backend: echo.addr})
	exactly(t, "backend of the open connection", upEcho, &echo.tally)
	total := runningApp(t).state.monitor.Status().Total.Leg(flow.LegUpstream)
	if got, want := total.Octets, endpointOf(t, up).sent.Load()+upEcho.sent.Load(); got != want {
		t.Errorf("records have %d octets to backends, counters %d", got, want)
	}
	// What else is on works, too.
	records := delta(countersOf(loopbackExporters).records.Load)
	sendTo(t, port).send(message(encoder(), 20))
	eventually(t, "flows are still collected", func() bool { return records() == 20 })
	for _, r := range runningApp(t).state.monitor.Flows(100_000, func(r *flow.Record) bool { return r.Leg == flow.LegDownstream }) {
		if r.SourceAS != 64500 {
			t.Fatalf("a flow has no AS: %+v", r)
		}
	}
}

// A reload that fails, in provisioning or in starting, changes nothing: the old
// configuration sweeps on, with its limits.
func TestFailedReloadChangesNothing(t *testing.T) {
	startCaddy(t, "{\n\t"+quiet+"\tflowmaster {\n\t\tlimits {\n\t\t\tconnections 77\n\t\t}\n\t}\n}\n")
	a := runningApp(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	other := "{\n\t" + quiet + "\tflowmaster {\n\t\tmask 8 16\n\t\tlimits {\n\t\t\tconnections 5\n\t\t}\n\t}\n}\n"
	for name, text := range map[string]string{
		"in provisioning": other + "http://:1 {\n\tlbpro 127.0.0.1:9 {\n\t\tpool x\n\t}\n\tlbpro /y 127.0.0.1:9 {\n\t\tpool x\n\t\teject off\n\t}\n}\n",
		"in starting":     other + "http://:" + port + " {\n\tbind 127.0.0.1\n\trespond ok\n}\n",
	} {
		for range 4 { // apps start in random order
			if err := caddy.Load(adapt(t, text), true); err == nil {
				t.Fatalf("%s: the reload has not failed", name)
			}
			if runningApp(t) != a || a.state.owner.Load() != a {
				t.Errorf("%s: the old configuration does not sweep any more", name)
			}
			if l := theProcess().size.limit.Load(); l != 77 {
				t.Errorf("%s: limit is %d", name, l)
			}
			if n := countStates(); n != 2 {
				t.Errorf("%s: %d states, want 2", name, n)
			}
		}
	}
}

// The listener wrapper asks for the app, and says how to get it.
func TestListenerNeedsTheApp(t *testing.T) {
	text := "{\n\t" + quiet + "\tservers {\n\t\tlistener_wrappers {\n\t\t\tflowmaster\n\t\t}\n\t}\n}\nhttp://:1 {\n\trespond ok\n}\n"
	cfg := new(caddy.Config)
	if err := json.Unmarshal(adapt(t, text), cfg); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(cfg); err == nil || !strings.Contains(err.Error(), "add the global option `flowmaster`") {
		t.Errorf("error is %v", err)
	}
}

// Without a name connections are called as Caddy calls the server; behind TLS they are let
// through and counted as not measured.
func TestListenerNames(t *testing.T) {
	addr := freeAddr(t)
	cert, key, _ := certificate(t)
	other := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	_, tlsPort, _ := net.SplitHostPort(other)
	startCaddy(t, "{\n\t"+quiet+"\tflowmaster\n\tservers {\n\t\tlistener_wrappers {\n\t\t\tflowmaster\n\t\t}\n\t}\n}\n"+
		"http://127.0.0.1:"+port+" {\n\tbind 127.0.0.1\n\trespond ok\n}\nhttps://localhost:"+tlsPort+" {\n\tbind 127.0.0.1\n\ttls "+cert+" "+key+"\n\trespond ok\n}\n")
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: insecure()}, Timeout: patience}
	for _, url := range []string{"http://" + addr, "https://localhost:" + tlsPort} {
		res, err := hc.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	var names []string
	theProcess().endpoints.each(func(e *endpoint) { names = append(names, e.key.server) })
	if len(names) != 1 || !strings.HasPrefix(names[0], "srv") {
		t.Errorf("servers are %v, want one of Caddy's names", names)
	}
	if n := theProcess().unmeasured.Load(); n != 1 {
		t.Errorf("%d connections count as not measured, want 1", n)
	}
}
