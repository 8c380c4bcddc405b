package flowmaster

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"go.uber.org/goleak"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// patience bounds how long a test waits for a condition. It is generous: reaching it is a
// failure, never a measurement.
const patience = 30 * time.Second

// eventually waits until the condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// freeAddr returns an address of loopback on which nobody listens, below the range from
// which outgoing connections take theirs.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		ln, err := net.Listen("tcp", addr)
		if err == nil {
			ln.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

// adapt turns a Caddyfile into JSON.
func adapt(t testing.TB, text string) []byte {
	t.Helper()
	out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatalf("adapting: %v\n%s", err, text)
	}
	return out
}

// quiet is what the global options of all tests have.
const quiet = "admin off\n\tpersist_config off\n\tauto_https off\n\tgrace_period 5s\n\tlog {\n\t\toutput discard\n\t}\n"

// startCaddy runs Caddy with the Caddyfile until the test ends. Caddy is one per process, so
// tests that use it do not run in parallel.
func startCaddy(t testing.TB, text string) {
	t.Helper()
	if err := caddy.Load(adapt(t, text), true); err != nil {
		t.Fatalf("starting Caddy: %v\n%s", err, text)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
}

// runningApp returns the app of the running configuration.
func runningApp(t testing.TB) *App {
	t.Helper()
	app, err := caddy.ActiveContext().AppIfConfigured("flowmaster")
	if err != nil {
		t.Fatal(err)
	}
	return app.(*App)
}

func countStates() (n int) {
	states.Range(func(any, any) bool { n++; return true })
	return n
}

func record(received time.Time, from, to string, octets uint64) flow.Record {
	return flow.Record{
		ReceivedMilliseconds: received.UnixMilli(), FlowStartMilliseconds: received.UnixMilli(), FlowEndMilliseconds: received.UnixMilli(),
		SourceAddress: addrOf(from), DestinationAddress: addrOf(to), SourceTransportPort: 40000, DestinationTransportPort: 443,
		ProtocolIdentifier: 6, OctetDeltaCount: octets, PacketDeltaCount: 1, SamplingPacketInterval: 1,
		Source: flow.SourceConnection, Leg: flow.LegDownstream, Exactness: flow.Exact,
	}
}

func TestCaddyfile(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"flowmaster", `{}`},
		{"flowmaster {\n\tsweep_interval 5s\n\taddresses hash_daily\n}", `{"sweep_interval":5000000000,"addresses":"hash_daily"}`},
		{"flowmaster {\n\tmask 16 32\n}", `{"mask":{"ipv4":16,"ipv6":32}}`},
		{"flowmaster {\n\tlimits {\n\t\tflows 7\n\t\tflow_idle 3s\n\t\ttemplate_bytes 1MiB\n\t\trate 9\n\t}\n}",
			`{"limits":{"flows":7,"flow_idle":3000000000,"template_bytes":1048576,"rate":9}}`},
	} {
		var got struct {
			Apps map[string]json.RawMessage `json:"apps"`
		}
		if err := json.Unmarshal(adapt(t, "{\n\t"+c.in+"\n}\n"), &got); err != nil {
			t.Fatal(err)
		}
		if s := string(got.Apps["flowmaster"]); s != c.want {
			t.Errorf("%s\ngives %s, want %s", c.in, s, c.want)
		}
	}
	for in, want := range map[string]string{
		"flowmaster x":                                     "argument",
		"flowmaster {\n\tnonsense\n}":                      `unrecognized subdirective "nonsense"`,
		"flowmaster {\n\tmask 24\n}":                       "argument",
		"flowmaster {\n\tmask a b\n}":                      `mask "a"`,
		"flowmaster {\n\tsweep_interval soon\n}":           `sweep_interval is "soon"`,
		"flowmaster {\n\tlimits {\n\t\tflows 0\n\t}\n}":    `flows is "0"`,
		"flowmaster {\n\tlimits {\n\t\tfleas 1\n\t}\n}":    `unknown limit "fleas"`,
		"flowmaster {\n\taddresses a\n\taddresses b\n}":    "addresses is given already",
		"flowmaster\n\tflowmaster":                         "flowmaster is given already",
		"flowmaster {\n\tlimits {\n\t\trate -1\n\t}\n}":    `rate is "-1"`,
		"flowmaster {\n\tlimits {\n\t\tfields 1 2\n\t}\n}": "argument",
	} {
		_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("{\n\t"+in+"\n}\n"), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngives error %v, want one with %q", in, err, want)
		}
	}
}

func TestRefusedSettings(t *testing.T) {
	for in, want := range map[string]string{
		`{"sweep_interval":"1ms"}`:                          "sweep_interval is 1ms",
		`{"addresses":"some"}`:                              `addresses is "some"`,
		`{"mask":{"ipv4":33}}`:                              "mask ipv4 is 33",
		`{"mask":{"ipv4":0,"ipv6":0}}`:                      "mask keeps no bit",
		`{"mask":{"ipv4":8},"addresses":"full"}`:            "leave one of them out",
		`{"limits":{"flows":-1}}`:                           "limit flows is -1",
		`{"limits":{"top_k":100001}}`:                       "limit top_k is 100001",
		`{"limits":{"template_bytes":-5}}`:                  "limit template_bytes is -5",
		`{"addresses":"hash_daily","mask":{"ipv6":48}}`:     "leave one of them out",
		`{"mask":{"ipv6":-1}}`:                              "mask ipv6 is -1",
		`{"limits":{"connections":-2}}`:                     "limit connections is -2",
		`{"limits":{"rate":-1,"flow_idle":1}}`:              "limit rate is -1",
		`{"sweep_interval":"2h"}`:                           "sweep_interval is 2h",
		`{"addresses":"mask","limits":{"template_ttl":-1}}`: "limit template_ttl is -1",
	} {
		cfg := new(caddy.Config)
		if err := json.Unmarshal([]byte(`{"apps":{"flowmaster":`+in+`}}`), cfg); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Validate(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives error %v, want one with %q", in, err, want)
		}
	}
	if n := countStates(); n != 0 {
		t.Errorf("%d states are left", n)
	}
}

// Flows and what they are called survive a reload; another mask begins anew.
func TestFlowsSurviveAReload(t *testing.T) {
	startCaddy(t, "{\n\t"+quiet+"\tflowmaster\n}\n")
	a := runningApp(t)
	a.state.take(0, []flow.Record{record(time.Now(), "192.0.2.77", "198.51.100.9", 10)})
	reload := func(options string) *App {
		t.Helper()
		if err := caddy.Load(adapt(t, "{\n\t"+quiet+"\tflowmaster {\n\t"+options+"\n}\n}\n"), true); err != nil {
			t.Fatal(err)
		}
		return runningApp(t)
	}
	b := reload("sweep_interval 20s")
	if b == a || b.state.owner.Load() != b {
		t.Error("the new configuration has not taken over")
	}
	flows := b.state.monitor.Flows(10, nil)
	if len(flows) != 1 || flows[0].SourceAddress != addrOf("192.0.2.0") || flows[0].OctetDeltaCount != 10 {
		t.Errorf("flows are %+v, want the one from before, masked", flows)
	}
	c := reload("mask 8 16")
	if n := len(c.state.monitor.Flows(10, nil)); n != 0 {
		t.Errorf("%d flows that were masked differently", n)
	}
	if c.state.names != a.state.names || c.state.templates != a.state.templates {
		t.Error("names or templates are lost")
	}
}

// A pseudonym stands for one address through a day, and tells nothing of it.
func TestPseudonyms(t *testing.T) {
	startCaddy(t, "{\n\t"+quiet+"\tflowmaster {\n\t\taddresses hash_daily\n\t}\n}\n")
	s := runningApp(t).state
	day := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	at := func(when time.Time, from string) flow.Addr {
		r := []flow.Record{record(when, from, "198.51.100.9", 1)}
		s.take(0, r)
		return r[0].SourceAddress
	}
	first := at(day, "192.0.2.77")
	if ip := first.As16(); ip[0] != 0xfd {
		t.Errorf("pseudonym is %v", first)
	}
	if at(day.Add(time.Hour), "192.0.2.77") != first {
		t.Error("another pseudonym on the same day")
	}
	if at(day, "192.0.2.78") == first {
		t.Error("the same pseudonym for another address")
	}
	if at(day.Add(24*time.Hour), "192.0.2.77") == first {
		t.Error("the same pseudonym on another day")
	}
	for _, f := range s.monitor.Flows(10, nil) {
		if f.SourceAddress.Is4() || f.DestinationAddress.Is4() {
			t.Errorf("an address is stored: %v", f.SourceAddress)
		}
	}
}

// sink notes what it is given and in which order things happen.
type sink struct {
	log    *[]string
	fail   error
	octets uint64
}

func (s *sink) Take(r []flow.Record) {
	for i := range r {
		s.octets += r[i].OctetDeltaCount
	}
	*s.log = append(*s.log, "take")
}

func (s *sink) start() error { *s.log = append(*s.log, "sink starts"); return s.fail }
func (s *sink) stop() error  { *s.log = append(*s.log, "sink stops"); return nil }

type source struct {
	log  *[]string
	fail error
}

func (s *source) start() error { *s.log = append(*s.log, "source starts"); return s.fail }
func (s *source) stop() error  { *s.log = append(*s.log, "source stops"); return nil }

// What takes flows runs as long as there are any: the last of them are handed over after
// those that bring flows have stopped.
func TestOrderOfParts(t *testing.T) {
	var log []string
	broken := errors.New("broken")
	for _, c := range []struct {
		sink, source error
		want         string
	}{
		{nil, nil, "[sink starts source starts source stops take sink stops]"},
		{nil, broken, "[sink starts source starts sink stops]"},
		{broken, nil, "[sink starts]"},
	} {
		log = nil
		a := new(App)
		ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
		if err := a.Provision(ctx); err != nil {
			t.Fatal(err)
		}
		out := &sink{log: &log, fail: c.sink}
		a.exporters, a.parts = []recordSink{out}, []part{&source{&log, c.source}}
		if err := a.Start(); !errors.Is(err, errors.Join(c.sink, c.source)) && (c.sink != nil || c.source != nil) && !errors.Is(err, broken) {
			t.Errorf("error is %v", err)
		} else if err == nil {
			a.state.take(0, []flow.Record{record(time.Now(), "192.0.2.1", "192.0.2.2", 5)})
			if err := a.Stop(); err != nil {
				t.Error(err)
			}
			if out.octets != 5 {
				t.Errorf("the exporter got %d octets, want 5", out.octets)
			}
		}
		cancel()
		if err := a.Cleanup(); err != nil {
			t.Error(err)
		}
		if got := fmt.Sprint(log); got != c.want {
			t.Errorf("order is %v, want %s", got, c.want)
		}
	}
}

// Validating, as `caddy validate` does, leaves neither a goroutine nor state.
func TestValidateLeavesNothing(t *testing.T) {
	cfg := func() *caddy.Config {
		c := new(caddy.Config)
		if err := json.Unmarshal(adapt(t, "{\n\t"+quiet+"\tflowmaster\n}\n"), c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if err := caddy.Validate(cfg()); err != nil { // what is made once per process
		t.Fatal(err)
	}
	known := goleak.IgnoreCurrent()
	for range 20 {
		if err := caddy.Validate(cfg()); err != nil {
			t.Fatal(err)
		}
	}
	if n := countStates(); n != 0 {
		t.Errorf("%d states are left", n)
	}
	if err := goleak.Find(known); err != nil {
		t.Error(err)
	}
}

func addrOf(s string) flow.Addr { return flow.AddrFrom(netip.MustParseAddr(s)) }
