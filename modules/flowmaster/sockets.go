package flowmaster

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
)

// HostSockets says how the TCP sockets of other programs are looked at. It is done through
// sock_diag, without any privilege, and only on Linux.
type HostSockets struct {
	// How often. Default: 30s; at least 1s.
	Interval caddy.Duration `json:"interval,omitempty"`

	// How many sockets are looked at each time. Those past it are left out, and that is
	// counted. Default: 20000; at most 1000000.
	Limit int `json:"limit,omitempty"`

	// How many ports are shown; the others are shown together. Default: 20; at most 1000.
	Top int `json:"top,omitempty"`

	// Names of ports, for metrics: what has none counts as `other` there.
	Ports map[string][]uint16 `json:"ports,omitempty"`
}

const (
	defaultSocketsInterval = 30 * time.Second
	defaultSocketsLimit    = 20_000
	defaultSocketsTop      = 20
	mostPortNames          = 64
)

// parseSockets takes the part about sockets out of host:
//
//	sockets {
//	    interval <duration>
//	    limit    <n>
//	    top      <n>
//	    port     <name> <ports...>
//	}
func (h *Host) parseSockets(d *caddyfile.Dispenser) error {
	if h.Sockets != nil {
		return d.Err("sockets is given already")
	}
	s := new(HostSockets)
	h.Sockets = s
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(2) {
		var err error
		switch d.Val() {
		case "interval":
			err = argument.Duration(d, &s.Interval)
		case "limit":
			err = argument.Count(d, &s.Limit)
		case "top":
			err = argument.Count(d, &s.Top)
		case "port":
			err = s.parsePort(d)
		default:
			return d.Errf("unrecognized subdirective %q of sockets", d.Val())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *HostSockets) parsePort(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 2 {
		return d.ArgErr()
	}
	if s.Ports == nil {
		s.Ports = make(map[string][]uint16)
	}
	for _, text := range args[1:] {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return d.Errf("port %s is %q: it must be a number from 1 to 65535", args[0], text)
		}
		s.Ports[args[0]] = append(s.Ports[args[0]], uint16(n))
	}
	return nil
}

// provisionSockets checks the option; nothing is asked before the app starts.
func (a *App) provisionSockets() error {
	if a.Host == nil || a.Host.Sockets == nil {
		return nil
	}
	s := a.Host.Sockets
	if a.Host.Off {
		return errors.New("host is off but has sockets: leave one of them out")
	}
	if s.Interval == 0 {
		s.Interval = caddy.Duration(defaultSocketsInterval)
	}
	or(&s.Limit, defaultSocketsLimit)
	or(&s.Top, defaultSocketsTop)
	switch i := time.Duration(s.Interval); {
	case i < time.Second || i > time.Hour:
		return fmt.Errorf("host sockets interval is %v: it must be between 1s and 1h", i)
	case s.Limit < 1 || s.Limit > 1_000_000:
		return fmt.Errorf("host sockets limit is %d: it must be between 1 and 1000000", s.Limit)
	case s.Top < 1 || s.Top > 1000:
		return fmt.Errorf("host sockets top is %d: it must be between 1 and 1000", s.Top)
	case len(s.Ports) > mostPortNames:
		return fmt.Errorf("host sockets names %d ports: at most %d names are possible", len(s.Ports), mostPortNames)
	}
	names, err := s.byPort()
	if err != nil {
		return err
	}
	a.parts = append(a.parts, &socketsPart{app: a, names: names})
	return nil
}

// byPort returns the names of ports.
func (s *HostSockets) byPort() (map[uint16]string, error) {
	names := make(map[uint16]string)
	for name, ports := range s.Ports {
		if name == "" || name == otherName {
			return nil, fmt.Errorf("host sockets names a port %q: take another name", name)
		}
		for _, p := range ports {
			if before := names[p]; before != "" || p == 0 {
				return nil, fmt.Errorf("host sockets port %d of %s: a port must be above 0 and can have one name only", p, name)
			}
			names[p] = name
		}
	}
	return names, nil
}

// SocketsReport is about the TCP sockets of other programs, as they were at one time.
type SocketsReport struct {
	At time.Time `json:"at"`
	// Note says why there is nothing, where there is nothing.
	Note string `json:"note,omitempty"`
	// LookedAt is how many sockets there were, Own how many of them are Caddy's and left
	// out. Truncated says that there are more than the limit.
	LookedAt  int  `json:"looked_at"`
	Own       int  `json:"own_left_out"`
	Truncated bool `json:"truncated"`
	// WithoutOwner are sockets that no program has open any more, by state: whose they
	// were, this Caddy's or another program's, the kernel does not tell.
	WithoutOwner map[string]int `json:"without_owner"`
	// Ports are those with the most sockets, Other all the others together.
	Ports []*SocketGroup `json:"ports"`
	Other *SocketGroup   `json:"other,omitempty"`
	// OtherPorts is how many ports are in Other.
	OtherPorts int `json:"other_ports"`
	// Named are the ports that have a name in the configuration, and the rest as `other`.
	Named []*SocketGroup `json:"named"`
	// TookSeconds is how long it took to find out.
	TookSeconds float64 `json:"took_seconds"`

	totals         map[string]socketCounts // by name, since the beginning
	truncatedSince uint64                  // looks that ended at the limit, since the beginning
}

// SocketGroup is sockets that belong together. Counts are of what is open now, since each
// was opened.
type SocketGroup struct {
	// Name is the port's in the configuration.
	Name string `json:"name,omitempty"`
	// Side is server where the host listens on Port, client where it connects to Port
	// elsewhere.
	Side    string         `json:"side,omitempty"`
	Port    uint16         `json:"port,omitempty"`
	Sockets int            `json:"sockets"`
	States  map[string]int `json:"states"`
	// RTTSeconds is the mean over the sockets that have one.
	RTTSeconds           float64 `json:"rtt_seconds"`
	MaxRTTSeconds        float64 `json:"max_rtt_seconds"`
	MinRTTSeconds        float64 `json:"min_rtt_seconds"`
	SentOctets           uint64  `json:"sent_octets"`
	ReceivedOctets       uint64  `json:"received_octets"`
	RetransOctets        uint64  `json:"retransmitted_octets"`
	RetransSegments      uint64  `json:"retransmitted_segments"`
	UnreadOctets         uint64  `json:"unread_octets"`
	UnacknowledgedOctets uint64  `json:"unacknowledged_octets"`
	// AcceptQueue is how many connections wait to be accepted, AcceptLimit how many may.
	AcceptQueue uint64 `json:"accept_queue"`
	AcceptLimit uint64 `json:"accept_queue_limit"`

	rtts int
}
