package flowmaster

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-lbpro/caddy-lbpro/internal/recordings"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/decode"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// freePort returns a UDP port nobody uses.
func freePort(t testing.TB) int {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

// option is a configuration with this content of the global option flowmaster.
func option(content string) string {
	return "{\n\t" + quiet + "flowmaster {\n" + content + "\n\t}\n}\n"
}

// runApp runs Caddy with the content of the global option flowmaster until the test ends.
func runApp(t testing.TB, content string) *App {
	t.Helper()
	startCaddy(t, option(content))
	return runningApp(t)
}

// refused checks that a configuration is refused, with an error that mentions what is wanted.
func refused(t *testing.T, content string, want ...string) {
	t.Helper()
	out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(option(content)), map[string]any{"filename": "Caddyfile"})
	if err == nil {
		var c caddy.Config
		if err = caddy.StrictUnmarshalJSON(out, &c); err == nil {
			err = caddy.Validate(&c)
		}
	}
	if err == nil {
		t.Errorf("this is accepted:\n%s", content)
		return
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not mention %q: %v", w, err)
		}
	}
}

// sender sends datagrams to a local port.
type sender struct {
	t testing.TB
	*net.UDPConn
}

func sendTo(t testing.TB, port int) sender {
	t.Helper()
	c, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return sender{t, c}
}

func (s sender) send(b []byte) {
	s.t.Helper()
	if _, err := s.Write(b); err != nil {
		s.t.Fatal(err)
	}
}

// delta reads a counter as a difference to now.
func delta(read func() uint64) func() uint64 {
	before := read()
	return func() uint64 { return read() - before }
}

// message is an IPFIX message of n records, with templates if wanted.
func message(e *decode.Encoder, n int) []byte {
	list := make([]flow.Record, n)
	for i := range list {
		list[i] = flow.Record{
			SourceAddress: flow.AddrFrom4(0xc6336400 + uint32(i)), DestinationAddress: flow.AddrFrom4(0xc0000201),
			SourceTransportPort: uint16(40000 + i), DestinationTransportPort: 443, ProtocolIdentifier: 6,
			OctetDeltaCount: 1500, PacketDeltaCount: 3, SamplingPacketInterval: 1,
		}
	}
	b, taken := e.AppendMessage(nil, list, time.Now())
	if taken != n {
		panic(fmt.Sprint("taken ", taken))
	}
	return b
}

func encoder() *decode.Encoder {
	return decode.NewEncoder(decode.EncoderOptions{MaxOctets: 9000, TemplateInterval: -1})
}

func TestCollectorTakesInDatagrams(t *testing.T) {
	port, sflowPort := freePort(t), freePort(t)
	app := runApp(t, fmt.Sprintf("collector netflow {\nlisten 127.0.0.1:%d\nworkers 2\n}\ncollector sflow {\nlisten 127.0.0.1:%d\n}", port, sflowPort))
	c := countersOf(loopbackExporters)
	datagrams, records, missing, wrong := delta(c.datagrams.Load), delta(c.records.Load), delta(c.templateMissing.Load), delta(c.decodeErrors.Load)
	gaps := delta(c.sequenceGaps.Load)
	flows := delta(func() uint64 { return app.state.monitor.Status().Total.Leg(flow.LegObserved).Records })

	e := encoder()
	first := message(e, 20)
	data := message(e, 26)
	to := sendTo(t, port)
	to.send(data) // before its template
	to.send(first)
	eventually(t, "data before their template are counted", func() bool { return missing() == 1 && records() == 20 })
	e = encoder()
	_ = message(e, 20)
	to.send(message(e, 26))
	to.send(netFlow5())
	to.send([]byte("noise"))
	to.send(nil)
	eventually(t, "all has come", func() bool { return datagrams() == 6 })
	if records() != 47 || wrong() != 2 {
		t.Errorf("%d records and %d errors, want 47 and 2", records(), wrong())
	}
	eventually(t, "the flows are there", func() bool { return flows() == 47 })
	if gaps() != 0 {
		t.Errorf("gaps of %d where nothing was lost", gaps())
	}
	_ = message(e, 26) // lost on the way
	to.send(message(e, 1))
	eventually(t, "the gap is seen", func() bool { return gaps() == 26 })

	// NetFlow is nothing for an sFlow port.
	wrong = delta(c.decodeErrors.Load)
	sendTo(t, sflowPort).send(netFlow5())
	eventually(t, "the wrong protocol is counted", func() bool { return wrong() == 1 })
	st := app.collectors[0].Status()
	if st.Protocol != "netflow" || len(st.Sockets) != 2 || st.Sockets[0].ReceiveBuffer <= 0 {
		t.Errorf("status %+v", st)
	}
	for _, r := range app.state.monitor.Flows(100, nil) {
		if ip := r.SourceAddress.Netip(); ip.As4()[3] != 0 {
			t.Errorf("an address is not masked: %v", ip)
		}
	}
}

func TestCollectorFixturesThroughUDP(t *testing.T) {
	dir := recordings.Need(t)
	port := freePort(t)
	runApp(t, fmt.Sprintf("collector netflow {\nlisten 127.0.0.1:%d\n}", port))
	c := countersOf(loopbackExporters)
	records := delta(c.records.Load)
	to := sendTo(t, port)
	for _, f := range []string{"netflow5_test_microtik.dat", "netflow9_test_cisco_asa_2_tpl_26x.dat", "netflow9_test_cisco_asa_2_tpl_27x.dat", "netflow9_test_cisco_asa_2_data.dat"} {
		b, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		to.send(b)
	}
	eventually(t, "30 and 19 records", func() bool { return records() == 49 })
}

func TestOnlyAllowedExportersAreHeard(t *testing.T) {
	port := freePort(t)
	app := runApp(t, fmt.Sprintf("collector netflow {\nlisten :%d\nallow 127.0.0.2 127.3.0.0/16\nsampling 100\n}", port))
	other := countersOf(otherExporters)
	dropped := delta(other.dropped.Load)
	from := func(ip string) {
		c, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip)}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(netFlow5()); err != nil {
			t.Fatal(err)
		}
	}
	one, net16 := countersOf("127.0.0.2"), countersOf("127.3.0.0/16")
	n1, n2 := delta(one.records.Load), delta(net16.records.Load)
	from("127.0.0.1")
	from("127.0.0.2")
	from("127.3.4.5")
	from("127.3.4.6")
	eventually(t, "each is counted where it belongs", func() bool { return dropped() == 1 && n1() == 1 && n2() == 2 })
	eventually(t, "flows are there", func() bool { return len(app.state.monitor.Flows(10, nil)) > 0 })
	for _, r := range app.state.monitor.Flows(10, nil) {
		if r.SamplingPacketInterval != 100 || r.Exactness != flow.Sampled {
			t.Errorf("sampling was not overridden: %d, %v", r.SamplingPacketInterval, r.Exactness)
		}
	}
}

func TestCollectorRefusesWhatIsNotSafe(t *testing.T) {
	refused(t, "collector netflow {\nlisten :2055\n}", ":2055", "loopback", "allow")
	refused(t, "collector netflow {\nlisten 192.0.2.1:2055\n}", "allow")
	refused(t, "collector netflow {\nlisten tcp/127.0.0.1:2055\n}", "tcp", "udp")
	refused(t, "collector netflow {\nlisten unix//tmp/x\n}", "unix", "udp")
	refused(t, "collector netflow {\nallow everyone\n}", "everyone", "192.0.2.0/24")
	refused(t, "collector netflow {\nworkers 65\n}", "workers", "64")
	refused(t, "collector netflow {\nlisten 127.0.0.1:1000-1999\nworkers 2\n}", "2000 sockets")
	refused(t, "collector netflow {\nsampling none\n}", "sampling")
	refused(t, "collector netflow {\ncolour red\n}", "colour")
	refused(t, "collector gossip", "gossip")
	refused(t, "collector", "collector")
	refused(t, "collector netflow\ncollector netflow", "two collectors", "127.0.0.1:2055")
}

// Validating opens nothing, not even with collectors on ports that are taken.
func TestValidateOpensNoSocket(t *testing.T) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	out := adapt(t, option(fmt.Sprintf("collector netflow {\nlisten %s\n}", c.LocalAddr())))
	var config caddy.Config
	if err := caddy.StrictUnmarshalJSON(out, &config); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&config); err != nil {
		t.Errorf("validating: %v", err)
	}
	if err := caddy.Load(out, true); err == nil {
		t.Error("it started on a port that is taken")
		_ = caddy.Stop()
	} else if !strings.Contains(err.Error(), c.LocalAddr().String()) {
		t.Errorf("the error does not say which: %v", err)
	}
}

// Through reloads no datagram is lost and templates are kept.
func TestNoDatagramIsLostInReloads(t *testing.T) {
	port := freePort(t)
	content := func(n int) string {
		return fmt.Sprintf("sweep_interval %ds\ncollector netflow {\nlisten 127.0.0.1:%d\n}", 10+n, port)
	}
	runApp(t, content(0))
	c := countersOf(loopbackExporters)
	records, missing := delta(c.records.Load), delta(c.templateMissing.Load)
	e := encoder()
	to := sendTo(t, port)
	to.send(message(e, 20))
	eventually(t, "the templates are there", func() bool { return records() == 20 })
	stop, sent := make(chan struct{}), make(chan uint64)
	go func() {
		n := uint64(0)
		for {
			select {
			case <-stop:
				sent <- n
				return
			default:
				// From a new port each time, so that the kernel's choice of socket changes.
				one, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
				if err != nil {
					t.Error(err)
					continue
				}
				if _, err := one.Write(message(e, 3)); err == nil {
					n += 3
				} else {
					t.Error(err)
				}
				one.Close()
				time.Sleep(50 * time.Microsecond)
			}
		}
	}()
	for i := range 20 {
		before := records()
		if err := caddy.Load(adapt(t, option(content(i+1))), true); err != nil {
			t.Fatal(err)
		}
		eventually(t, "records go on", func() bool { return records() > before })
	}
	close(stop)
	n := <-sent + 20
	eventually(t, "all have come", func() bool { return records() >= n })
	if records() != n || missing() != 0 {
		t.Errorf("%d records of %d, %d without a template", records(), n, missing())
	}
}

// Floods and bombs are bounded, counted, and what comes after them is taken in.
func TestCollectorUnderHostileInput(t *testing.T) {
	port := freePort(t)
	app := runApp(t, fmt.Sprintf("limits {\nflows 2000\nexporters 8\ntemplates 64\n}\ncollector netflow {\nlisten 127.0.0.1:%d\n}", port))
	c := countersOf(loopbackExporters)
	wrong, dropped, missing := delta(c.decodeErrors.Load), delta(c.dropped.Load), delta(c.templateMissing.Load)
	words := func(w ...uint16) (b []byte) {
		for _, v := range w {
			b = binary.BigEndian.AppendUint16(b, v)
		}
		return b
	}
	to := sendTo(t, port)
	// A template without a field, and one whose only field has no length, each with data
	// behind it: other collectors never come back from these.
	to.send(words(10, 32, 0, 1, 0, 0, 0, 7, 2, 8, 256, 0, 256, 8, 0, 0))
	to.send(words(10, 36, 0, 1, 0, 0, 0, 7, 2, 12, 256, 1, 8, 0, 256, 8, 0, 0))
	eventually(t, "both bombs come to nothing", func() bool { return missing() == 2 })
	if wrong() != 1 { // the one without fields withdraws a template
		t.Errorf("%d errors", wrong())
	}

	flood := 100_000
	if testing.Short() || raceEnabled {
		flood = 3_000
	}
	sent := uint64(0)
	datagrams := delta(c.datagrams.Load)
	paced := func(b []byte) {
		to.send(b)
		if sent++; sent%256 == 0 {
			eventually(t, "the collector keeps up", func() bool { return datagrams() == sent })
		}
	}
	for i := range flood {
		id := uint16(256 + i%60000)
		switch i % 3 {
		case 0: // template after template, in domain after domain
			paced(words(10, 28, 0, 1, 0, 0, uint16(i>>8), uint16(i), 2, 12, id, 1, 8, 4))
		case 1: // ports and addresses without end
			b := netFlow5()
			binary.BigEndian.PutUint32(b[24:], uint32(i)*2654435761)
			binary.BigEndian.PutUint16(b[24+32:], uint16(i))
			paced(b)
		case 2: // lengths that lie
			paced(words(10, uint16(i), 0, 1, 0, 0, 0, 7, 2, uint16(i*7), id, uint16(i*13), 8, 4))
		}
	}
	eventually(t, "the flood is over", func() bool { return datagrams() == sent })
	st, templates := app.state.monitor.Status(), app.state.templates.Status()
	if st.Flows > 2000+64*16 || st.Evicted == 0 && flood > 15_000 {
		t.Errorf("%d flows, %d evicted", st.Flows, st.Evicted)
	}
	if templates.Templates > 64 || templates.Domains > 512 || templates.Exporters > 8 {
		t.Errorf("%+v", templates)
	}
	// More exporters than there is room for.
	for i := range 100 {
		conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 9, 0, byte(i))}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(netFlow5()); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	eventually(t, "those that are too many are counted", func() bool { return dropped() == 93 })
	if list := app.state.templates.Exporters(); len(list) > 8 || !list[0].Address.IsLoopback() {
		t.Errorf("%d exporters are known", len(list))
	}
	records := delta(c.records.Load)
	to.send(netFlow5())
	eventually(t, "it still works", func() bool { return records() == 1 })
}

func TestLoopbackIsWhatOnlyThisMachineReaches(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "[::1]": true, "localhost": true, "::ffff:127.0.0.1": true,
		"": false, "0.0.0.0": false, "::": false, "192.0.2.1": false, "example.com": false, "localhost.example.com": false,
	} {
		if isLoopback(host) != want {
			t.Errorf("isLoopback(%q) is not %v", host, want)
		}
	}
	for text, want := range map[string]string{"192.0.2.1": "192.0.2.1/32", "192.0.2.9/24": "192.0.2.0/24", "::ffff:192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.0/120": "192.0.2.0/24", "2001:db8::/32": "2001:db8::/32"} {
		if p, err := parsePrefix(text); err != nil || p != netip.MustParsePrefix(want) {
			t.Errorf("parsePrefix(%q) = %v, %v", text, p, err)
		}
	}
}
