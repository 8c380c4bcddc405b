package flow

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"
)

func TestAddr(t *testing.T) {
	for _, s := range []string{"0.0.0.0", "192.0.2.1", "255.255.255.255", "2001:db8::1", "::1", "ffff::ffff:1.2.3.4"} {
		ip := netip.MustParseAddr(s)
		a := AddrFrom(ip)
		if a.IsZero() || a.String() != ip.String() || a.Netip() != ip || a.Is4() != ip.Is4() || a.As16() != ip.As16() {
			t.Errorf("%s became %v", s, a)
		}
		if AddrFrom(netip.AddrFrom16(ip.As16())) != a {
			t.Errorf("%s in 16 bytes is another address", s)
		}
	}
	if a := AddrFrom(netip.Addr{}); !a.IsZero() || a.String() != "" || a.Netip().IsValid() {
		t.Errorf("no address became %v", a)
	}
	if AddrFrom4(0xc0000201) != AddrFrom(netip.MustParseAddr("192.0.2.1")) || AddrFrom4(0xc0000201).V4() != 0xc0000201 {
		t.Error("AddrFrom4")
	}
}

func TestAddrMasked(t *testing.T) {
	for _, c := range []struct {
		addr   string
		b4, b6 uint8
		want   string
	}{
		{"192.0.2.201", 24, 48, "192.0.2.0"}, {"192.0.2.201", 32, 48, "192.0.2.201"}, {"192.0.2.201", 0, 48, "0.0.0.0"},
		{"192.0.2.201", 31, 0, "192.0.2.200"}, {"192.0.2.201", 99, 0, "192.0.2.201"},
		{"2001:db8:1:2:3:4:5:6", 24, 48, "2001:db8:1::"}, {"2001:db8:1:2:3:4:5:6", 24, 64, "2001:db8:1:2::"},
		{"2001:db8:1:2:3:4:5:6", 24, 112, "2001:db8:1:2:3:4:5:0"}, {"2001:db8:1:2:3:4:5:6", 24, 128, "2001:db8:1:2:3:4:5:6"},
		{"2001:db8:1:2:3:4:5:6", 24, 200, "2001:db8:1:2:3:4:5:6"},
	} {
		if got := AddrFrom(netip.MustParseAddr(c.addr)).Masked(c.b4, c.b6).String(); got != c.want {
			t.Errorf("%s with %d, %d is %s, want %s", c.addr, c.b4, c.b6, got, c.want)
		}
	}
	if !(Addr{}).Masked(24, 48).IsZero() {
		t.Error("no address has a prefix")
	}
}

func TestClient(t *testing.T) {
	a, b := AddrFrom4(1), AddrFrom4(2)
	for _, c := range []struct {
		leg          Leg
		biflow       BiflowDirection
		source, dest uint16
		client       Addr
		service      uint16
	}{
		{LegDownstream, 0, 80, 443, a, 443}, // even where the client's port is lower
		{LegUpstream, 0, 80, 8080, a, 8080},
		{LegObserved, 0, 50000, 443, a, 443},
		{LegObserved, 0, 443, 50000, b, 443},
		{LegObserved, 0, 500, 500, a, 500},
		{LegObserved, 0, 0, 771, a, 771},
		{LegObserved, BiflowInitiator, 80, 443, a, 443},
		{LegObserved, BiflowReverseInitiator, 50000, 443, b, 50000},
	} {
		r := Record{Leg: c.leg, BiflowDirection: c.biflow, SourceAddress: a, DestinationAddress: b, SourceTransportPort: c.source, DestinationTransportPort: c.dest}
		if client, service := r.Client(); client != c.client || service != c.service {
			t.Errorf("%v, ports %d and %d: client %v, service %d", c.leg, c.source, c.dest, client, service)
		}
	}
}

func TestNames(t *testing.T) {
	n := NewNames(2)
	x, y := n.ID("x"), n.ID("y")
	if x == 0 || y == 0 || x == y || n.ID("x") != x || n.Name(y) != "y" {
		t.Errorf("x is %d, y is %d", x, y)
	}
	if n.ID("z") != 0 || n.Refused() != 1 || n.ID("y") != y || n.Refused() != 1 {
		t.Errorf("past the limit: %d, refused %d", n.ID("z"), n.Refused())
	}
	if n.ID("") != 0 || n.Name(0) != "" || n.Name(99) != "" {
		t.Error("no name is not 0")
	}
}

func TestScaleSaturates(t *testing.T) {
	for _, c := range []struct {
		forward, reverse uint64
		interval         uint32
		want             uint64
	}{{3, 4, 0, 7}, {3, 4, 1, 7}, {3, 4, 10, 70}, {1 << 63, 1 << 63, 1, ^uint64(0)}, {1 << 40, 0, 1 << 30, ^uint64(0)}} {
		if got := scale(c.forward, c.reverse, c.interval); got != c.want {
			t.Errorf("scale(%d, %d, %d) is %d", c.forward, c.reverse, c.interval, got)
		}
	}
}

// Every kind has a name, and values past the known ones do not panic.
func TestKindNames(t *testing.T) {
	for _, c := range []struct {
		got  fmt.Stringer
		want string
	}{
		{SourceSFlow, "sflow"}, {LegUpstream, "upstream"}, {Sampled, "sampled"}, {EndLackOfResources, "lackOfResources"},
		{BackendDraining, "draining"}, {ByExporter, "exporter"}, {Country{'C', 'H'}, "CH"}, {Country{}, ""},
		{Source(200), "unknown"}, {EndReason(99), "unknown"}, {Leg(9), "unknown"},
	} {
		if c.got.String() != c.want {
			t.Errorf("%#v is %q, want %q", c.got, c.got, c.want)
		}
	}
	for _, d := range Dimensions() {
		if parsed, ok := ParseDimension(d.String()); !ok || parsed != d {
			t.Errorf("%v", d)
		}
	}
	if _, ok := ParseDimension("nonsense"); ok {
		t.Error("nonsense is a dimension")
	}
	if _, ok := ParseWindow("2h"); ok {
		t.Error("2h is a window")
	}
}

func TestRecordView(t *testing.T) {
	names := NewNames(10)
	r := testRecord(1, second)
	r.Backend, r.Pool, r.BackendState, r.FlowEndReason = names.ID("b1"), names.ID("web"), BackendEjected, EndOfFlow
	r.SamplingPacketInterval, r.ReverseOctetDeltaCount = 10, 5
	r.DestinationAddress = AddrFrom16(0x20010db8<<32, 1)
	r.FlowEndMilliseconds = 1 << 62
	b, err := json.Marshal(r.View(names))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"sourceIPv4Address": "10.0.0.1", "destinationIPv6Address": "2001:db8::1", "backend": "b1", "pool": "web", "backend_state": "ejected",
		"flowEndReason": "endOfFlowDetected", "octetDeltaCount": 1000., "scaled_octets": 10050., "samplingInterval": 10.,
		"flowStartMilliseconds": "1970-01-01T00:00:01Z", "flowEndMilliseconds": "9999-12-31T23:59:59.999Z", "leg": "observed",
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	for _, name := range []string{"sourceIPv6Address", "destinationIPv4Address", "exporter", "vlanId"} {
		if v, ok := got[name]; ok {
			t.Errorf("%s is %v, was not reported", name, v)
		}
	}
}
