package flowmaster

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/decode"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// ipfixListener decodes what an export sends.
type ipfixListener struct {
	decoder *decode.Decoder
	store   *decode.Store
	records []flow.Record
	errs    []error
}

func newIPFIXListener() *ipfixListener {
	s := decode.NewStore(decode.Limits{})
	return &ipfixListener{decoder: decode.NewDecoder(s), store: s}
}

func (l *ipfixListener) take(b []byte) {
	var err error
	l.records, _, err = l.decoder.Decode(l.records, decode.Packet{Exporter: netip.MustParseAddr("127.0.0.1"), Received: time.Now(), Payload: b})
	if err != nil {
		l.errs = append(l.errs, err)
	}
}

// lost is what is missing by the sequence numbers, and how many sets had no template.
func (l *ipfixListener) lost() (lost, unknown uint64) {
	for _, e := range l.store.Exporters() {
		lost += e.Counters.Lost + e.Counters.Restarts + e.Counters.Late
		unknown += e.Counters.UnknownSets
	}
	return lost, unknown
}

func flows(n int) []flow.Record {
	list := make([]flow.Record, n)
	for i := range list {
		r := record(time.Now(), "192.0.2.1", "198.51.100.7", uint64(i))
		if i%2 == 0 {
			r.ReverseOctetDeltaCount, r.ReversePacketDeltaCount = 7, 1
		}
		list[i] = r
	}
	return list
}

func newExport(t *testing.T, e *Export) *Export {
	t.Helper()
	if err := e.provision(zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	if err := e.start(); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestExportOverUDP(t *testing.T) {
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	_ = pc.SetReadBuffer(4 << 20)
	e := newExport(t, &Export{To: "udp/" + pc.LocalAddr().String(), TemplateInterval: caddy.Duration(time.Second)})
	const n = 1000
	list := flows(n)
	list = append(list, flow.Record{Leg: flow.LegObserved}) // not our own
	e.Take(list)
	l := newIPFIXListener()
	b := make([]byte, 65536)
	read := func() {
		t.Helper()
		if err := pc.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		k, err := pc.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		l.take(b[:k])
	}
	for len(l.records) < n {
		read()
	}
	templates := l.store.Exporters()[0].Counters.Templates
	for l.store.Exporters()[0].Counters.Templates == templates {
		read() // templates are sent again although there is nothing to say
	}
	// What waits at the end is sent.
	e.Take(flows(30))
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	for len(l.records) < n+30 {
		read()
	}
	var octets, reverse uint64
	for _, r := range l.records {
		octets += r.OctetDeltaCount
		reverse += r.ReverseOctetDeltaCount
	}
	if octets != n*(n-1)/2+30*29/2 || reverse != 7*(n+30)/2 || len(l.records) != n+30 {
		t.Errorf("%d records with %d and %d octets", len(l.records), octets, reverse)
	}
	if lost, unknown := l.lost(); lost != 0 || unknown != 0 || len(l.errs) > 0 {
		t.Errorf("%d lost, %d unknown, %v", lost, unknown, l.errs)
	}
	if st := e.Status(); st.Records != n+30 || st.Dropped != 0 || st.Queued != 0 || st.Connected {
		t.Errorf("status %+v", st)
	}
}

// serveIPFIX accepts connections and hands over the messages of each.
func serveIPFIX(t *testing.T, ln net.Listener, message func(conn int, b []byte) bool) {
	for i := 0; ; i++ {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		for {
			head := make([]byte, 16)
			if _, err := io.ReadFull(c, head); err != nil {
				break
			}
			n := int(binary.BigEndian.Uint16(head[2:]))
			if binary.BigEndian.Uint16(head) != 10 || n < 16 {
				t.Errorf("not the head of an IPFIX message: %x", head)
				break
			}
			b := append(head, make([]byte, n-16)...)
			if _, err := io.ReadFull(c, b[16:]); err != nil {
				break
			}
			if !message(i, b) {
				break
			}
		}
		c.Close()
	}
}

// Over TCP a connection that breaks is made again, and each begins with templates and
// sequence number 0.
func TestExportOverTCPConnectsAgain(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	type got struct {
		conn int
		b    []byte
	}
	messages := make(chan got, 1000)
	go serveIPFIX(t, ln, func(conn int, b []byte) bool {
		messages <- got{conn, b}
		return conn > 0 || len(messages) < 2 // the first is broken off
	})
	e := newExport(t, &Export{To: "tcp/" + ln.Addr().String()})
	sessions := map[int]*ipfixListener{}
	total := 0
	for total < 500 {
		e.Take(flows(50))
		select {
		case m := <-messages:
			if sessions[m.conn] == nil {
				sessions[m.conn] = newIPFIXListener()
				if seq := binary.BigEndian.Uint32(m.b[8:]); seq != 0 {
					t.Errorf("connection %d begins with number %d", m.conn, seq)
				}
			}
			before := len(sessions[m.conn].records)
			sessions[m.conn].take(m.b)
			if m.conn > 0 {
				total += len(sessions[m.conn].records) - before
			}
		case <-time.After(patience):
			t.Fatal("no message comes")
		}
	}
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	for i, l := range sessions {
		if lost, unknown := l.lost(); lost != 0 || unknown != 0 || len(l.errs) > 0 {
			t.Errorf("connection %d: %d lost, %d unknown, %v", i, lost, unknown, l.errs)
		}
	}
	if st := e.Status(); st.Connections < 2 {
		t.Errorf("status %+v", st)
	}
}

// With nobody there, the queue is bounded, what is too much is counted, and stopping does
// not wait for long.
func TestExportDropsAndCounts(t *testing.T) {
	e := newExport(t, &Export{To: "tcp/" + freeAddr(t), Queue: 100})
	for range 10 {
		e.Take(flows(50))
	}
	if n := e.queued(); n != 100 {
		t.Errorf("%d are queued", n)
	}
	if d := e.counters.dropped.Load(); d != 400 {
		t.Errorf("%d were dropped", d)
	}
	eventually(t, "it tries to connect", func() bool { return e.counters.errors.Load() > 0 })
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	if d := e.counters.dropped.Load(); d != 500 {
		t.Errorf("%d were dropped in the end, want all", d)
	}
}

// What a configuration's monitor holds is exported when Caddy stops.
func TestExportGetsWhatIsLeftAtTheEnd(t *testing.T) {
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	if err := caddy.Load(adapt(t, option(fmt.Sprintf("export udp/%s {\ndomain 7\n}", pc.LocalAddr()))), true); err != nil {
		t.Fatal(err)
	}
	app := runningApp(t)
	list := flows(3)
	for i := range list {
		list[i].SourceTransportPort += uint16(i)
	}
	app.state.take(0, list)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	l := newIPFIXListener()
	b := make([]byte, 65536)
	for len(l.records) < 3 {
		if err := pc.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		n, err := pc.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if domain := binary.BigEndian.Uint32(b[12:]); domain != 7 {
			t.Errorf("domain %d", domain)
		}
		l.take(b[:n])
	}
	if r := l.records[0]; r.FlowEndReason != flow.EndForced || r.SourceAddress != addrOf("192.0.2.0") {
		t.Errorf("%+v", r)
	}
}

func TestExportRefusals(t *testing.T) {
	refused(t, "export", "export")
	refused(t, "export unix//tmp/x", "unix", "udp or tcp")
	refused(t, "export udp/:4739", "one host")
	refused(t, "export udp/127.0.0.1:1-2", "one port")
	refused(t, "export udp/127.0.0.1 {\nmax_octets 100\n}", "max_octets", "640")
	refused(t, "export udp/127.0.0.1 {\ntemplate_interval 1ms\n}", "template_interval", "1s")
	refused(t, "export udp/127.0.0.1 {\ncolour red\n}", "colour")
	refused(t, "export udp/127.0.0.1\nexport 127.0.0.1:4739", "twice")
}
