package conninfo

import (
	"math/rand/v2"
	"net"
	"testing"
)

// Sockets of this process are listed with what they carried; a limit ends the list.
func TestEachSocket(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := uint16(ln.Addr().(*net.TCPAddr).Port)
	client, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if _, err := client.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 100)); err != nil { // leaves 900
		t.Fatal(err)
	}
	r := NewReader()
	if _, err := r.EachSocket(AllStates, 1, func(*Socket) {}); err != nil {
		t.Skipf("sockets cannot be listed here: %v", err)
	}
	list := func(states States) (found []Socket) {
		if _, err := r.EachSocket(states, 1<<20, func(s *Socket) {
			if s.LocalPort == port || s.RemotePort == port {
				found = append(found, *s)
			}
		}); err != nil {
			t.Fatal(err)
		}
		return found
	}
	if l := list(StatesOf(Listen)); len(l) != 1 || l[0].State != Listen || l[0].Inode == 0 || l[0].SendQueue == 0 || l[0].Info.Fields != 0 {
		t.Errorf("listeners: %+v", l)
	}
	var sent, received uint64
	cookies := make(map[uint64]bool)
	for _, s := range list(AllStates &^ StatesOf(Listen, TimeWait)) { // one before may have had the port
		cookies[s.Cookie] = true
		if s.State != Established || s.Inode == 0 || !s.Info.Has(HasRTT|HasSent) {
			t.Errorf("%+v", s)
		}
		sent, received = sent+s.Info.Sent, received+s.Info.Received
		if s.LocalPort == port && s.ReceiveQueue != 900 {
			t.Errorf("%d octets wait to be read, want 900", s.ReceiveQueue)
		}
	}
	if len(cookies) != 2 || sent != 1000 || received != 1000 {
		t.Errorf("%d sockets sent %d and received %d", len(cookies), sent, received)
	}
	n := 0
	if more, err := r.EachSocket(AllStates, 1, func(*Socket) { n++ }); !more || err != nil || n != 1 {
		t.Errorf("with a limit of 1 there are %d, more: %v, %v", n, more, err)
	}
}

// Whatever an answer holds, reading it ends and stays inside.
func TestSocketHostile(t *testing.T) {
	r := NewReader()
	random := rand.New(rand.NewPCG(1, 2))
	var s Socket
	for range 100_000 {
		b := make([]byte, random.IntN(400))
		for i := range b {
			b[i] = byte(random.IntN(8)) // small lengths are the likely ones
		}
		if ok := r.socket(b, &s); ok != (len(b) >= sizeofDiagMessage) {
			t.Fatalf("%d octets: %v", len(b), ok)
		}
	}
}
