package flowmaster

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// These tests talk to programs that others wrote. Debian has them as softflowd, nfdump and
// tcpdump.

// tool finds a program, or skips the test.
func tool(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			t.Skipf("%s is not installed", n)
		}
	}
}

// background starts a program that is ended with stop.
func background(t *testing.T, name string, args ...string) (cmd *exec.Cmd, output *bytes.Buffer, stop func()) {
	t.Helper()
	output = new(bytes.Buffer)
	cmd = exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = cmd.Process.Signal(syscall.SIGTERM)
		done := make(chan struct{})
		go func() { _ = cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			t.Errorf("%s does not end", name)
		}
	}
	t.Cleanup(stop)
	return cmd, output, stop
}

// captureLoopback records TCP connections and datagrams on the loopback interface.
func captureLoopback(t *testing.T) (file string) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	file = filepath.Join(os.TempDir(), fmt.Sprintf("flowmaster-%d.pcap", os.Getpid())) // tcpdump drops its rights, so not in t.TempDir
	t.Cleanup(func() { os.Remove(file) })
	_, said, stop := background(t, "tcpdump", "-i", "lo", "-U", "--immediate-mode", "-s", "200", "-B", "8192", "-w", file, "port", port)
	for i := 0; ; i++ {
		if b, _ := os.ReadFile(file); len(b) >= 24 {
			break
		}
		if i > 500 {
			stop()
			t.Skipf("tcpdump cannot capture here: %s", said)
		}
		time.Sleep(10 * time.Millisecond)
	}
	udp, err := net.Dial("udp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for i := range 40 {
		c, err := net.Dial("tcp4", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		sent := make([]byte, 1000*(i+1))
		go func() { _, _ = c.Write(sent); _ = c.(*net.TCPConn).CloseWrite() }()
		if n, err := io.Copy(io.Discard, c); err != nil || n != int64(len(sent)) {
			t.Fatalf("%d came back of %d: %v", n, len(sent), err)
		}
		c.Close()
		_, _ = udp.Write(sent[:i]) // nobody listens; the packets are what matters
	}
	last := []byte("the last packet of this capture")
	_, _ = udp.Write(last)
	eventually(t, "the capture is written", func() bool {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(b, last) // packets are written in their order
	})
	stop()
	return file
}

var protocolTotals = regexp.MustCompile(`(?m)^\s+\S+ \(\d+\):\s+(\d+)\s+(\d+)`)

// What softflowd exports of real loopback traffic arrives with the totals that softflowd
// itself states, in all three protocols.
func TestSoftflowdIsCollected(t *testing.T) {
	tool(t, "softflowd", "tcpdump")
	file := captureLoopback(t)
	port := freePort(t)
	app := runApp(t, fmt.Sprintf("collector netflow {\nlisten 127.0.0.1:%d\n}", port))
	for _, version := range []string{"5", "9", "10"} {
		t.Run("version "+version, func(t *testing.T) {
			observed := func() flow.Totals { return app.state.monitor.Status().Total.Leg(flow.LegObserved) }
			before := observed()
			c := countersOf(loopbackExporters)
			gaps, missing, wrong := delta(c.sequenceGaps.Load), delta(c.templateMissing.Load), delta(c.decodeErrors.Load)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			said, err := exec.CommandContext(ctx, "softflowd", "-d", "-v", version, "-r", file, "-n", fmt.Sprintf("127.0.0.1:%d", port)).CombinedOutput()
			if err != nil {
				t.Fatalf("softflowd: %v: %s", err, said)
			}
			var octets, packets uint64
			for _, m := range protocolTotals.FindAllSubmatch(said, -1) {
				o, _ := strconv.ParseUint(string(m[1]), 10, 64)
				p, _ := strconv.ParseUint(string(m[2]), 10, 64)
				octets, packets = octets+o, packets+p
			}
			if octets < 1_640_000 || packets < 400 {
				t.Fatalf("softflowd saw %d octets in %d packets:\n%s", octets, packets, said)
			}
			got := func() (o, p uint64) {
				now := observed()
				return now.RawOctets - before.RawOctets, now.RawPackets - before.RawPackets
			}
			eventually(t, fmt.Sprintf("%d octets in %d packets are collected", octets, packets), func() bool {
				o, p := got()
				if o > octets || p > packets {
					t.Fatalf("%d octets in %d packets are collected, of %d in %d", o, p, octets, packets)
				}
				return o == octets && p == packets
			})
			// As IPFIX, softflowd 1.1.0 numbers a message by the records up to its end, where
			// RFC 7011 §3.1 wants those before it: messages of unequal size look like gaps.
			if version != "10" && gaps() != 0 || missing() != 0 || wrong() != 0 {
				t.Errorf("gaps %d, templates missing %d, errors %d", gaps(), missing(), wrong())
			}
			t.Logf("softflowd -v %s: %d octets, %d packets, all collected", version, octets, packets)
		})
	}
}

// What is exported arrives at nfcapd, and nfdump states the same totals.
func TestNfcapdCollectsTheExport(t *testing.T) {
	tool(t, "nfcapd", "nfdump")
	for _, how := range []string{"uniflow", "biflow"} {
		t.Run(how, func(t *testing.T) {
			dir, port := t.TempDir(), freePort(t)
			_, said, stop := background(t, "nfcapd", "-b", "127.0.0.1", "-p", strconv.Itoa(port), "-w", dir, "-t", "3600", "-B", "4000000")
			eventually(t, "nfcapd listens", func() bool { return udpListens(t, port) })
			extra := ""
			if how == "uniflow" {
				extra = " {\nuniflow\n}"
			}
			if err := caddy.Load(adapt(t, option(fmt.Sprintf("export udp/127.0.0.1:%d%s", port, extra))), true); err != nil {
				t.Fatal(err)
			}
			app := runningApp(t)
			now := time.Now()
			const n = 2000
			list := make([]flow.Record, n)
			var octets, packets uint64
			for i := range list {
				r := record(now, fmt.Sprintf("10.%d.%d.1", i/250, i%250), "198.51.100.7", uint64(1000+i))
				if i%4 == 3 {
					r.SourceAddress, r.DestinationAddress = addrOf(fmt.Sprintf("2001:db8:%x::1", i)), addrOf("2001:db8::7")
				}
				r.SourceTransportPort, r.PacketDeltaCount = uint16(1024+i), 5
				r.ReverseOctetDeltaCount, r.ReversePacketDeltaCount = uint64(3*i), 2
				if i == 0 {
					r.ReversePacketDeltaCount = 0
				}
				octets += r.OctetDeltaCount + r.ReverseOctetDeltaCount
				packets += r.PacketDeltaCount + r.ReversePacketDeltaCount
				list[i] = r
			}
			app.state.take(0, list)
			if err := caddy.Stop(); err != nil { // which exports what is left
				t.Fatal(err)
			}
			to := exportCountersOf(fmt.Sprintf("udp/127.0.0.1:%d", port))
			if d := to.dropped.Load() + to.errors.Load(); d != 0 {
				t.Errorf("%d dropped or failed", d)
			}
			eventually(t, "nfcapd has read its socket", func() bool { return udpRead(t, port) })
			stop()
			out, err := exec.Command("nfdump", "-R", dir, "-o", "csv").Output()
			if err != nil {
				t.Fatalf("nfdump: %v", err)
			}
			gotOctets, gotPackets, flows := sumCSV(t, out)
			want := n
			if how == "uniflow" {
				want = 2*n - 1
			}
			if gotOctets != octets || gotPackets != packets || flows != want {
				t.Errorf("nfdump has %d flows, %d octets, %d packets; exported were %d, %d, %d\n%s", flows, gotOctets, gotPackets, want, octets, packets, said)
			}
			if strings.Contains(said.String(), "equence") && !strings.Contains(said.String(), "Sequence Errors: 0") {
				t.Errorf("nfcapd complains about the sequence: %s", said)
			}
			t.Logf("%s: nfdump has %d flows with %d octets in %d packets", how, flows, gotOctets, gotPackets)
		})
	}
}

// sumCSV adds up both directions of the flows that nfdump prints.
func sumCSV(t *testing.T, out []byte) (octets, packets uint64, flows int) {
	t.Helper()
	r := csv.NewReader(bytes.NewReader(out))
	r.FieldsPerRecord = -1
	all, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, row := range all {
		if i == 0 {
			for k, name := range row {
				column[name] = k
			}
			if column["ibyt"] == 0 || column["obyt"] == 0 {
				t.Fatalf("nfdump's columns are %v", row)
			}
			continue
		}
		if len(row) <= column["obyt"] || !strings.HasPrefix(row[0], "20") {
			continue // the summary
		}
		number := func(name string) uint64 {
			n, err := strconv.ParseUint(strings.TrimSpace(row[column[name]]), 10, 64)
			if err != nil {
				t.Fatalf("%s: %v in %v", name, err, row)
			}
			return n
		}
		octets += number("ibyt") + number("obyt")
		packets += number("ipkt") + number("opkt")
		flows++
	}
	return octets, packets, flows
}

// udpListens reports whether somebody has the port.
func udpListens(t *testing.T, port int) bool {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return true
	}
	c.Close()
	return false
}

// udpRead reports whether nothing waits in the socket on a port of loopback.
func udpRead(t *testing.T, port int) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		// The number, the local and the remote address, the state, and what waits to be
		// sent and to be read.
		f := strings.Fields(line)
		if len(f) > 4 && f[1] == fmt.Sprintf("0100007F:%04X", port) {
			return strings.HasSuffix(f[4], ":00000000")
		}
	}
	t.Fatalf("no socket on port %d in\n%s", port, b)
	return false
}
