package flowmaster

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/procfs"
)

// readHost reads /proc/self/net. It takes some hundred microseconds.
func readHost(h *Host) (r HostReport) {
	p, err := procfs.Self()
	if err != nil {
		return HostReport{Note: fmt.Sprintf("reading /proc: %v", err)}
	}
	snmp, err := p.Snmp()
	if err != nil {
		return HostReport{Note: fmt.Sprintf("reading /proc/self/net/snmp: %v", err)}
	}
	netstat, err := p.Netstat()
	if err != nil {
		return HostReport{Note: fmt.Sprintf("reading /proc/self/net/netstat: %v", err)}
	}
	r.TCP = HostTCP{
		Established: value(snmp.CurrEstab), ListenOverflows: value(netstat.ListenOverflows), ListenDrops: value(netstat.ListenDrops),
		SegmentsSent: value(snmp.OutSegs), RetransSegments: value(snmp.RetransSegs), Timeouts: value(netstat.TCPTimeouts),
		AttemptFails: value(snmp.AttemptFails), Resets: value(snmp.EstabResets),
	}
	r.UDP = HostUDP{
		Received: value(snmp.Udp.InDatagrams), ReceiveErrors: value(snmp.Udp.RcvbufErrors), SendErrors: value(snmp.Udp.SndbufErrors),
		NoPort: value(snmp.Udp.NoPorts),
	}
	if six, err := p.Snmp6(); err == nil { // absent where there is no IPv6
		r.UDP.Received += value(six.Udp6.InDatagrams)
		r.UDP.ReceiveErrors += value(six.Udp6.RcvbufErrors)
		r.UDP.SendErrors += value(six.Udp6.SndbufErrors)
		r.UDP.NoPort += value(six.Udp6.NoPorts)
	}
	devices, err := p.NetDev()
	if err != nil {
		return r // counters of interfaces are a bonus
	}
	for name, d := range devices {
		if !h.wanted(name, virtualPair) {
			r.InterfacesLeftOut++
			continue
		}
		r.Interfaces = append(r.Interfaces, HostInterface{
			Name: name, ReceivedBytes: d.RxBytes, SentBytes: d.TxBytes, ReceivedPackets: d.RxPackets, SentPackets: d.TxPackets,
			ReceiveDrops: d.RxDropped, SendDrops: d.TxDropped, ReceiveErrors: d.RxErrors, SendErrors: d.TxErrors,
		})
	}
	slices.SortFunc(r.Interfaces, func(a, b HostInterface) int { return strings.Compare(a.Name, b.Name) })
	if n := len(r.Interfaces); n > mostInterfaces {
		r.Interfaces = r.Interfaces[:mostInterfaces]
		r.InterfacesLeftOut += n - mostInterfaces
	}
	return r
}

func virtualPair(name string) bool { return strings.HasPrefix(name, "veth") }

// value is 0 for what the kernel does not report.
func value(v *float64) float64 {
	if v == nil {
		return 0
	}
	return *v
}
