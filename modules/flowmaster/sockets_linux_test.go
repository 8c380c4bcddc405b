package flowmaster

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/conninfo"
)

const (
	socketsVariable = "FLOWMASTER_TEST_SOCKETS"
	otherConns      = 7
	otherOctets     = 5000
)

// TestOtherProgram is no test: it is another program with sockets. For every line that it
// gets, each of its connections carries some octets.
func TestOtherProgram(t *testing.T) {
	if os.Getenv(socketsVariable) == "" {
		t.Skip("is run by the test of sockets")
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var clients, servers []net.Conn
	for range otherConns {
		c, err := net.Dial("tcp4", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		clients, servers = append(clients, c), append(servers, s)
	}
	fmt.Println("port", ln.Addr().(*net.TCPAddr).Port)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		for i, c := range clients {
			c.Write(make([]byte, otherOctets))
			if _, err := io.ReadFull(servers[i], make([]byte, otherOctets)); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Println("sent")
	}
}

// otherProgram starts it, and returns its port and how it is made to send.
func otherProgram(t *testing.T) (port uint16, send func()) {
	t.Helper()
	if _, err := conninfo.NewReader().EachSocket(conninfo.AllStates, 1, func(*conninfo.Socket) {}); err != nil {
		t.Skipf("sockets cannot be listed here: %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestOtherProgram$")
	cmd.Env = append(os.Environ(), socketsVariable+"=1")
	stdin, lines := startOther(t, cmd)
	next := func(want string) string {
		for lines.Scan() {
			if rest, ok := strings.CutPrefix(lines.Text(), want); ok {
				return rest
			}
		}
		t.Fatalf("the other program does not say %q", want)
		return ""
	}
	n, err := strconv.ParseUint(next("port "), 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(n), func() {
		t.Helper()
		fmt.Fprintln(stdin, "send")
		next("sent")
	}
}

func groupOf(r *SocketsReport, side string, port uint16) *SocketGroup {
	for _, g := range r.Ports {
		if g.Side == side && g.Port == port {
			return g
		}
	}
	return nil
}

// Another program's sockets show with what they carry, by port and by name, and Caddy's own
// do not.
func TestSocketsOfOthers(t *testing.T) {
	port, send := otherProgram(t)
	mine, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	own, err := net.Dial("tcp4", mine.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	accepted, err := mine.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	ownPort := uint16(mine.Addr().(*net.TCPAddr).Port)

	content := fmt.Sprintf("host {\n\t\t\tsockets {\n\t\t\t\tinterval 1s\n\t\t\t\tlimit 100000\n\t\t\t\ttop 1000\n\t\t\t\tport db %d\n\t\t\t}\n\t\t}", port)
	app, admin := runWithAdmin(t, content)
	report := func() *SocketsReport { return ask[HostReport](t, admin, "/flowmaster/host", 200).Sockets }
	var r *SocketsReport
	eventually(t, "the sockets were looked at", func() bool { r = report(); return r != nil && r.Note == "" })
	server, client := groupOf(r, "server", port), groupOf(r, "client", port)
	if server == nil || server.Sockets != otherConns+1 || server.States["established"] != otherConns || server.States["listen"] != 1 || server.AcceptLimit == 0 {
		t.Fatalf("the side that listens is %+v", server)
	}
	if client == nil || client.Sockets != otherConns || client.Name != "db" {
		t.Fatalf("the side that connects is %+v", client)
	}
	if groupOf(r, "server", ownPort) != nil || groupOf(r, "client", ownPort) != nil || r.Own < 3 {
		t.Errorf("own sockets are shown: %d were left out", r.Own)
	}
	const rounds = 3
	for range rounds {
		send()
	}
	const all = rounds * otherConns * otherOctets
	eventually(t, "what was sent shows", func() bool {
		r = report()
		s, c := groupOf(r, "server", port), groupOf(r, "client", port)
		if s == nil || c == nil { // a look that the kernel refused says so, and the next one has them again
			t.Logf("a look showed neither: %q, %d groups", r.Note, len(r.Ports))
			return false
		}
		return s.ReceivedOctets == all && c.SentOctets == all && c.RTTSeconds > 0 && c.MinRTTSeconds > 0 && c.MaxRTTSeconds >= c.RTTSeconds
	})
	// All of it came after the first look, so the counters have all of it.
	latest := app.state.sockets.latest.Load()
	if c := latest.totals["db"]; c.sent != all || c.received != all {
		t.Errorf("counted %+v, want %d each way", c, all)
	}
	if len(r.Named) != 2 || r.Named[0].Name != "db" || r.Named[0].Sockets != 2*otherConns+1 || r.Named[1].Name != "other" {
		t.Errorf("by name: %+v", r.Named)
	}
	registry := prometheus.NewPedanticRegistry()
	if err := registerMetrics(registry); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, f := range families {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if l.GetName() == "port" && l.GetValue() != "db" && l.GetValue() != "other" {
					t.Errorf("%s has the label %s", f.GetName(), l.GetValue())
				}
				if f.GetName() == "caddy_flowmaster_host_sockets_sent_bytes_total" && l.GetValue() == "db" && m.Counter.GetValue() >= all {
					found++
				}
			}
		}
	}
	if found != 1 {
		t.Error("no metric tells what was sent")
	}
	// A reload goes on counting.
	text := strings.Replace(strings.Replace(option(content), "admin off", "admin "+admin, 1), "top 1000", "top 1", 1)
	if err := caddy.Load(adapt(t, text), true); err != nil {
		t.Fatal(err)
	}
	send()
	eventually(t, "counters go on, and little is shown", func() bool {
		r := runningApp(t).state.sockets.latest.Load()
		return r.totals["db"].sent == all+otherConns*otherOctets && len(r.Ports) == 1 && r.Other != nil && r.OtherPorts > 0 && r.Other.Sockets > 0
	})
}

// At the limit looking ends, says so, and nothing is counted twice or out of the blue.
func TestSocketsLimit(t *testing.T) {
	port, send := otherProgram(t)
	send()
	s := new(socketSweeper)
	h := &HostSockets{Limit: 3, Top: 10}
	names := map[uint16]string{port: "db"}
	s.sweep(h, names)
	if r := s.latest.Load(); !r.Truncated || r.LookedAt != 3 || r.truncatedSince != 1 {
		t.Errorf("%+v", r)
	}
	h.Limit = 100_000
	for range 2 {
		s.sweep(h, names)
		if r := s.latest.Load(); r.Truncated || r.totals["db"].sent != 0 {
			t.Errorf("%+v %+v", r, r.totals["db"])
		}
	}
	send()
	s.sweep(h, names)
	if got := s.latest.Load().totals["db"].sent; got != otherConns*otherOctets {
		t.Errorf("counted %d octets, want %d", got, otherConns*otherOctets)
	}
}

// A socket that nobody has open is not taken for another program's, unless it was one's.
func TestSocketsWithoutOwner(t *testing.T) {
	s := &socketSweeper{before: map[uint64]socketCounts{5: {sent: 10}}, complete: true, list: []seenSocket{
		{cookie: 4, local: 443, state: conninfo.TimeWait}, {cookie: 5, local: 40000, remote: 80, state: conninfo.FinWait1, socketCounts: socketCounts{sent: 30}},
		{cookie: 6, local: 443, inode: 9, state: conninfo.Established}, {cookie: 7, local: 40001, remote: 80, inode: 10, state: conninfo.Established},
	}}
	r := &SocketsReport{WithoutOwner: make(map[string]int)}
	s.group(r, map[uint32]struct{}{9: {}}, nil, 10)
	if r.Own != 1 || r.WithoutOwner["time_wait"] != 1 || len(r.Ports) != 1 || r.Ports[0].Sockets != 2 || r.Ports[0].Side != "client" || s.totals[otherName].sent != 20 {
		t.Errorf("%+v, %+v", r, s.totals[otherName])
	}
}

func TestSocketsOptions(t *testing.T) {
	var got struct {
		Apps map[string]json.RawMessage `json:"apps"`
	}
	text := "host {\n\t\t\tinterfaces eth0\n\t\t\tsockets {\n\t\t\t\tinterval 5s\n\t\t\t\tlimit 7\n\t\t\t\ttop 3\n\t\t\t\tport db 5432 5433\n\t\t\t\tport cache 6379\n\t\t\t}\n\t\t}"
	if err := json.Unmarshal(adapt(t, option(text)), &got); err != nil {
		t.Fatal(err)
	}
	if s, want := string(got.Apps["flowmaster"]), `{"host":{"interfaces":["eth0"],"sockets":{"interval":5000000000,"limit":7,"top":3,"ports":{"cache":[6379],"db":[5432,5433]}}}}`; s != want {
		t.Errorf("gives %s, want %s", s, want)
	}
	for in, want := range map[string]string{
		"sockets x":                               "argument",
		"sockets\nsockets":                        "sockets is given already",
		"sockets {\nx\n}":                         `unrecognized subdirective "x" of sockets`,
		"sockets {\nport db\n}":                   "argument",
		"sockets {\nport db x\n}":                 `port db is "x"`,
		"sockets {\nlimit none\n}":                `limit is "none"`,
		"sockets {\ninterval 10ms\n}":             "host sockets interval is 10ms",
		"sockets {\nlimit 2000000\n}":             "host sockets limit is 2000000",
		"sockets {\ntop 2000\n}":                  "host sockets top is 2000",
		"sockets {\nport db 5432\nport a 5432\n}": "host sockets port 5432",
		"sockets {\nport other 5432\n}":           `names a port "other"`,
	} {
		out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(option("host {\n"+in+"\n}")), nil)
		if err == nil {
			cfg := new(caddy.Config)
			if err = json.Unmarshal(out, cfg); err == nil {
				err = caddy.Validate(cfg)
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngives error %v, want one with %q", in, err, want)
		}
	}
}

// BenchmarkSockets is what one look costs.
func BenchmarkSockets(b *testing.B) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	for range 2000 {
		c, err := net.Dial("tcp4", ln.Addr().String())
		if err != nil {
			b.Skipf("not so many sockets can be opened: %v", err)
		}
		defer c.Close()
		s, err := ln.Accept()
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
	}
	s := new(socketSweeper)
	h := &HostSockets{Limit: 100_000, Top: 20}
	b.ReportAllocs()
	for b.Loop() {
		s.sweep(h, nil)
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N)/float64(s.latest.Load().LookedAt), "µs/socket")
}
