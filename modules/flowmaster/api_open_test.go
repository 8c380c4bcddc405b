package flowmaster

import (
	"net"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// Open connections are listed by leg and backend, masked, with figures once they were read.
func TestOpenConnectionsAndPaths(t *testing.T) {
	app, admin := runWithAdmin(t, "")
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	backend := ln.Addr().String()
	dial := app.WrapDial("web", (&net.Dialer{}).DialContext)
	conn, err := dial(t.Context(), "tcp", backend)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if _, err := conn.Write(make([]byte, 1234)); err != nil {
		t.Fatal(err)
	}
	type answer struct{ Open []openView }
	app.state.lookAtAll(time.Now())
	got := ask[answer](t, admin, "/flowmaster/connections?leg=upstream&pool=web", 200).Open
	if len(got) != 1 || got[0].Pool != "web" || got[0].Peer != "127.0.0.0" || got[0].Leg != flow.LegUpstream.String() {
		t.Fatalf("open connections: %+v", got)
	}
	if got[0].Read && got[0].SentOctets != 1234 {
		t.Errorf("%d octets were sent", got[0].SentOctets)
	}
	if none := ask[answer](t, admin, "/flowmaster/connections?leg=downstream", 200).Open; len(none) != 0 {
		t.Errorf("downstream: %+v", none)
	}
	eventually(t, "the path is judged", func() bool {
		return len(ask[pathResource](t, admin, "/flowmaster/path", 200).Paths) > 0
	})
	if none := ask[pathResource](t, admin, "/flowmaster/path?backend=nobody", 200); len(none.Paths) != 0 {
		t.Errorf("nobody's path: %+v", none)
	}
}
