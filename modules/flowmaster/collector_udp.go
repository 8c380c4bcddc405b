package flowmaster

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/gaissmai/bart"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// UDPCollector is what all collectors that listen for UDP datagrams have in common.
type UDPCollector struct {
	// Where to listen, as Caddy's network addresses: host and port, or a range of ports.
	// Without any, on the usual ports of the loopback interface. Anything but loopback
	// needs `allow`.
	Listen []string `json:"listen,omitempty"`

	// The exporters to accept datagrams from, as addresses or prefixes such as
	// 192.0.2.0/24. These are also the values of the label `exporter`. Source addresses
	// of UDP can be forged: let only the exporters' network reach the port. Default: on
	// loopback, everyone; elsewhere there is no default.
	Allow []string `json:"allow,omitempty"`

	// The sampling interval to use whatever exporters say: 1 in so many packets.
	// Default 0: what they say.
	Sampling uint32 `json:"sampling,omitempty"`

	// How many sockets and workers each port has. One takes in some million records a
	// second. Datagrams of one exporter always reach the same worker. Default 1, at most 64.
	Workers int `json:"workers,omitempty"`

	// How many bytes of datagrams may wait in the kernel, for each socket. Linux grants
	// at most net.core.rmem_max to a process without CAP_NET_ADMIN. Default 8388608.
	ReceiveBuffer int `json:"receive_buffer,omitempty"`

	protocol string
	sources  []flow.Source
	networks []caddy.NetworkAddress
	allow    bart.Table[*exporterCounters]
	anyone   *exporterCounters // on loopback without a list

	mu      sync.Mutex // of workers: status may be asked for at any time
	workers []*collectWorker
}

const (
	defaultReceiveBuffer = 8 << 20
	mostReceiveBuffer    = 1 << 30
	mostWorkers          = 64
	mostSockets          = 256
	mostAllowed          = 1024
)

// provision checks everything and opens nothing.
func (u *UDPCollector) provision(protocol string, ports []uint, sources ...flow.Source) error {
	u.protocol, u.sources = protocol, sources
	if u.Workers == 0 {
		u.Workers = 1
	}
	if u.Workers < 0 || u.Workers > mostWorkers {
		return fmt.Errorf("workers is %d: it must be from 1 to %d", u.Workers, mostWorkers)
	}
	if u.ReceiveBuffer == 0 {
		u.ReceiveBuffer = defaultReceiveBuffer
	}
	if u.ReceiveBuffer < 0 || u.ReceiveBuffer > mostReceiveBuffer {
		return fmt.Errorf("receive_buffer is %d: it must be from 1 to %d bytes", u.ReceiveBuffer, mostReceiveBuffer)
	}
	if err := u.provisionAllow(); err != nil {
		return err
	}
	listen := u.Listen
	if len(listen) == 0 {
		for _, p := range ports {
			listen = append(listen, caddy.JoinNetworkAddress("udp", "127.0.0.1", fmt.Sprint(p)))
		}
	}
	sockets := 0
	for _, text := range listen {
		na, err := u.address(text, ports[0])
		if err != nil {
			return err
		}
		sockets += int(na.PortRangeSize()) * u.Workers
		u.networks = append(u.networks, na)
	}
	if sockets > mostSockets {
		return fmt.Errorf("listen and workers ask for %d sockets: at most %d are opened", sockets, mostSockets)
	}
	if len(u.Allow) == 0 {
		u.anyone = countersOf(loopbackExporters)
	}
	return nil
}

func (u *UDPCollector) address(text string, port uint) (caddy.NetworkAddress, error) {
	text, err := caddy.NewReplacer().ReplaceOrErr(text, true, true)
	if err != nil {
		return caddy.NetworkAddress{}, fmt.Errorf("listen: %w", err)
	}
	na, err := caddy.ParseNetworkAddressWithDefaults(text, "udp", port)
	if err != nil {
		return na, fmt.Errorf("listen %q: %w", text, err)
	}
	switch na.Network {
	case "udp", "udp4", "udp6":
	default:
		return na, fmt.Errorf("listen %q: %s is no network for datagrams of exporters: use udp", text, na.Network)
	}
	if !isLoopback(na.Host) && len(u.Allow) == 0 {
		return na, fmt.Errorf("listen %q is not on the loopback interface: say with allow which exporters may send", text)
	}
	return na, nil
}

// isLoopback reports whether only this machine can reach the host.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.Unmap().IsLoopback()
}

func (u *UDPCollector) provisionAllow() error {
	if len(u.Allow) > mostAllowed {
		return fmt.Errorf("allow names %d exporters: at most %d, or use prefixes", len(u.Allow), mostAllowed)
	}
	for _, text := range u.Allow {
		p, err := parsePrefix(text)
		if err != nil {
			return fmt.Errorf("allow %q: %w", text, err)
		}
		label := p.String()
		if p.IsSingleIP() {
			label = p.Addr().String()
		}
		u.allow.Insert(p, countersOf(label))
	}
	return nil
}

// parsePrefix takes a prefix, or an address for a prefix of its full length.
func parsePrefix(text string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(text); err == nil {
		if ip.Zone() != "" {
			return netip.Prefix{}, errors.New("addresses with a zone are not supported")
		}
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, errors.New("it is neither an address nor a prefix such as 192.0.2.0/24")
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// exporter finds the counters of whoever sent from ip; nil for those that may not.
func (u *UDPCollector) exporter(ip netip.Addr) *exporterCounters {
	if u.anyone != nil {
		return u.anyone
	}
	c, _ := u.allow.Lookup(ip)
	return c
}

// addresses are those it listens on, without the ones where the kernel chooses a port.
func (u *UDPCollector) addresses() (list []string) {
	for _, na := range u.networks {
		for offset := range na.PortRangeSize() {
			if na.StartPort+offset != 0 {
				list = append(list, na.JoinHostPort(offset))
			}
		}
	}
	return list
}

// Start implements Collector.
func (u *UDPCollector) Start(env CollectorEnv) error {
	var list []*collectWorker
	for _, na := range u.networks {
		for offset := range na.PortRangeSize() {
			for range u.Workers {
				w, err := u.listen(na, offset, env)
				if err != nil {
					stopWorkers(list)
					return fmt.Errorf("listening on %s: %w", na.JoinHostPort(offset), err)
				}
				list = append(list, w)
			}
		}
	}
	for _, w := range list {
		w.start()
	}
	u.setWorkers(list)
	return nil
}

// Stop implements Collector.
func (u *UDPCollector) Stop() { stopWorkers(u.setWorkers(nil)) }

// setWorkers returns those before.
func (u *UDPCollector) setWorkers(list []*collectWorker) (before []*collectWorker) {
	u.mu.Lock()
	defer u.mu.Unlock()
	before, u.workers = u.workers, list
	return before
}

func stopWorkers(list []*collectWorker) {
	for _, w := range list {
		w.stop()
	}
}

// Status implements Collector.
func (u *UDPCollector) Status() CollectorStatus {
	u.mu.Lock()
	list := u.workers
	u.mu.Unlock()
	st := CollectorStatus{Protocol: u.protocol, Sockets: []SocketStatus{}}
	for _, w := range list {
		st.Sockets = append(st.Sockets, w.status())
	}
	return st
}
