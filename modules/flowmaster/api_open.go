package flowmaster

import (
	"cmp"
	"slices"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// openView is one open connection of this process with what the kernel last said of it.
type openView struct {
	Leg     string    `json:"leg"`
	Server  string    `json:"server,omitempty"`
	Pool    string    `json:"pool,omitempty"`
	Backend string    `json:"backend,omitempty"`
	Peer    string    `json:"peer,omitempty"` // as addresses are stored
	Opened  time.Time `json:"opened"`
	// Read says whether it has been looked at; the figures are 0 before.
	Read              bool    `json:"read"`
	SentOctets        uint64  `json:"sent_octets"`
	ReceivedOctets    uint64  `json:"received_octets"`
	RetransOctets     uint64  `json:"retransmitted_octets"`
	RTTSeconds        float64 `json:"rtt_seconds"`
	MinRTTSeconds     float64 `json:"min_rtt_seconds"`
	DeliveryRate      uint64  `json:"delivery_rate_octets_per_second"`
	CongestionWindow  uint32  `json:"congestion_window_segments"`
	OutOfOrder        uint32  `json:"out_of_order_segments"`
	NotSentOctets     uint32  `json:"not_sent_octets"`
	BusySeconds       float64 `json:"busy_seconds"`
	ReceiverLimited   float64 `json:"receiver_limited_seconds"`
	SendBufferLimited float64 `json:"send_buffer_limited_seconds"`
}

// openConnections lists up to n open connections for which keep is true, and whether there
// are more.
func (a *App) openConnections(n int, keep func(*flow.Record) bool) (list []openView, more bool) {
	list = []openView{}
	for _, leg := range []flow.Leg{flow.LegDownstream, flow.LegUpstream} {
		a.state.table(leg).each(func(c *connection) bool {
			c.mu.Lock()
			s := c.last
			// Filters see what is stored, never a whole address.
			r := c.record(&s, time.Now(), flow.EndUnknown)
			c.mu.Unlock()
			if a.state.key.hash {
				a.state.pseudonyms.apply(&r)
			}
			a.state.key.mask.Apply(&r)
			if keep != nil && !keep(&r) {
				return true
			}
			if len(list) == n {
				more = true
				return false
			}
			peer := r.SourceAddress
			if leg == flow.LegUpstream {
				peer = r.DestinationAddress
			}
			k := c.endpoint.key
			list = append(list, openView{
				Leg: leg.String(), Server: k.server, Pool: k.pool, Backend: k.backend, Peer: peer.String(), Opened: time.UnixMilli(c.opened).UTC(),
				Read: s.Fields != 0, SentOctets: s.Sent, ReceivedOctets: s.Received, RetransOctets: s.BytesRetrans,
				RTTSeconds: s.RTT.Seconds(), MinRTTSeconds: s.MinRTT.Seconds(), DeliveryRate: s.DeliveryRate, CongestionWindow: s.Window,
				OutOfOrder: s.OutOfOrder, NotSentOctets: s.NotSent, BusySeconds: s.Busy.Seconds(),
				ReceiverLimited: s.RwndLimited.Seconds(), SendBufferLimited: s.SndbufLimited.Seconds(),
			})
			return true
		})
	}
	return list, more
}

// pathResource is GET /flowmaster/path.
type pathResource struct {
	Paths  []Health `json:"paths"`
	Method string   `json:"method"`
}

func (a *App) pathResource(q *query) (any, error) {
	want := q.get("backend")
	r := pathResource{
		Paths:  []Health{},
		Method: "TCP figures of own connections to the next TCP hop, of what is sent; a path without enough samples scores 1",
	}
	for _, h := range a.state.paths() {
		if want == "" || h.Backend == want {
			r.Paths = append(r.Paths, h)
		}
	}
	slices.SortFunc(r.Paths, func(x, y Health) int { return cmp.Compare(x.Backend, y.Backend) })
	return r, nil
}
