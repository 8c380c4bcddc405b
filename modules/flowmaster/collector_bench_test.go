//go:build unix

package flowmaster

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/decode"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/geo/geotest"
)

// The sender of the benchmark is this test binary once more, in another process.
const senderEnv = "FLOWMASTER_SENDER"

func TestMain(m *testing.M) {
	if job := os.Getenv(senderEnv); job != "" {
		if err := runSender(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// runSender sends "port records flows rate count": count datagrams of so many IPFIX
// records to the port, at rate a second, from so many flows. Numbers go on without a gap.
func runSender(job string) error {
	var port, records, flows, rate, count int
	if _, err := fmt.Sscan(job, &port, &records, &flows, &rate, &count); err != nil {
		return err
	}
	conn, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return err
	}
	e := decode.NewEncoder(decode.EncoderOptions{MaxOctets: 9000, TemplateInterval: -1})
	templates, _ := e.AppendMessage(nil, nil, time.Now())
	if _, err := conn.Write(templates); err != nil {
		return err
	}
	var all [][]byte
	for i := 0; i < max(flows/records, 1); i++ {
		list := make([]flow.Record, records)
		for j := range list {
			n := uint32(i*records + j)
			list[j] = flow.Record{
				SourceAddress: flow.AddrFrom4(0x0a000000 + n*7919%(1<<24)), DestinationAddress: flow.AddrFrom4(0xc0000201), SourceTransportPort: uint16(n),
				DestinationTransportPort: 443, ProtocolIdentifier: 6, OctetDeltaCount: 1500, PacketDeltaCount: 3, SamplingPacketInterval: 1,
			}
		}
		b, _ := e.AppendMessage(nil, list, time.Now())
		all = append(all, b)
	}
	start, sequence := time.Now(), uint32(0)
	for n := 0; n < count; n++ {
		b := all[n%len(all)]
		binary.BigEndian.PutUint32(b[8:], sequence)
		sequence += uint32(records)
		if _, err := conn.Write(b); err != nil {
			return err
		}
		if n%32 == 31 {
			for time.Since(start) < time.Duration(float64(n)/float64(rate)*1e9) {
				time.Sleep(50 * time.Microsecond)
			}
		}
	}
	fmt.Println(time.Since(start).Seconds())
	return nil
}

// BenchmarkUDP is everything from the socket to the flow table: another process sends, one
// worker collects. It fails when anything is lost, by the sequence numbers or by the
// kernel's count. Rates are offered; what one core can do is records/s over the share of a
// core that this process used.
//
//	FLOWMASTER_RATE=100000 go test -run '^$' -bench UDP -benchtime 1x ./modules/flowmaster
func BenchmarkUDP(b *testing.B) {
	for _, c := range []struct {
		name                 string
		records, flows, rate int
		geoip                bool
	}{
		{"26records", 26, 10_000, 80_000, false},
		{"1records", 1, 10_000, 210_000, false},
		{"geoip", 26, 10_000, 40_000, true}, // 26 records, and the country and AS of both ends of each
	} {
		b.Run(c.name, func(b *testing.B) {
			rate := c.rate
			if text := os.Getenv("FLOWMASTER_RATE"); text != "" {
				rate, _ = strconv.Atoi(text)
			}
			port := freePort(b)
			content := fmt.Sprintf("collector netflow {\nlisten 127.0.0.1:%d\nreceive_buffer 64MiB\n}", port)
			if c.geoip {
				content += "\ngeoip " + strings.Join(largeDatabases(b), " ")
			}
			app := runApp(b, content)
			k := countersOf(loopbackExporters)
			for b.Loop() {
				readKernelDrops()
				got, gaps, drops := delta(k.records.Load), delta(k.sequenceGaps.Load), delta(countersOf(anyExporter).kernelDrops.Load)
				count := 3 * rate
				busy, start := cpuTime(), time.Now()
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), senderEnv+"="+fmt.Sprint(port, c.records, c.flows, rate, count))
				out, err := cmd.Output()
				if err != nil {
					b.Fatal(err)
				}
				end := time.Now().Add(10 * time.Second)
				for got() < uint64(count*c.records) && time.Now().Before(end) {
					time.Sleep(time.Millisecond)
				}
				took, used := time.Since(start).Seconds(), (cpuTime() - busy).Seconds()
				readKernelDrops()
				if lost := uint64(count*c.records) - got(); lost != 0 || gaps() != 0 || drops() != 0 {
					b.Errorf("lost %d records: gaps in sequence numbers %d, dropped by the kernel %d", lost, gaps(), drops())
				}
				sending, _ := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
				records := float64(got())
				b.ReportMetric(float64(count)/sending, "datagrams/s")
				b.ReportMetric(records/sending, "records/s")
				b.ReportMetric(100*used/took, "%core")
				b.ReportMetric(records/used, "records/s/core")
			}
			_ = app
		})
	}
}

// largeDatabases makes databases of countries and of AS numbers, with an entry of its own for
// each /24 that the sender has addresses of, 65,536 in all, and for 16,384 others.
func largeDatabases(b *testing.B) (files []string) {
	dir := b.TempDir()
	for _, kind := range []string{"GeoLite2-Country", "GeoLite2-ASN"} {
		w := &geotest.Writer{Type: kind}
		for i := range 80 << 10 {
			entry := asn(uint32(64512+i), "Example")
			if kind == "GeoLite2-Country" {
				entry = countryOf(string([]byte{'A' + byte(i%26), 'A' + byte(i/26%26)}))
			}
			w.Add(fmt.Sprintf("%d.%d.%d.0/24", 10+i>>16*182, i>>8&255, i&255), entry)
		}
		files = append(files, filepath.Join(dir, kind+".mmdb"))
		replace(b, files[len(files)-1], w.Bytes())
	}
	return files
}

// cpuTime is what this process has used of the processor.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// An active flow takes at most 200 bytes, with 100,000 of them.
func TestBytesPerFlow(t *testing.T) {
	const n = 100_000
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	m := flow.NewMonitor(flow.Options{Shards: 1, Mask: flow.NoMask, Table: flow.TableOptions{Flows: n, IdleTimeout: time.Hour}})
	now := time.Now()
	r := record(now, "192.0.2.1", "198.51.100.7", 100)
	// The top lists and sketches are there whatever the number of flows: fill them first.
	one := func(i int) {
		r.SourceAddress, r.SourceTransportPort = flow.AddrFrom4(0x0a000000+uint32(i)), uint16(i)
		m.Shard(0).Add([]flow.Record{r})
	}
	for i := range 2000 {
		one(i)
	}
	before := heap()
	for i := 2000; i < n; i++ {
		one(i)
	}
	used := float64(heap() - before)
	flows := m.Status().Flows
	t.Logf("%.1f bytes for each of %d flows", used/float64(flows-2000), flows)
	if flows != n || used/float64(flows-2000) > 200 {
		t.Errorf("%d flows take %.1f bytes each", flows, used/float64(flows-2000))
	}
	runtime.KeepAlive(m)
}
