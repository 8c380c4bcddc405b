package flowmaster

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/decode"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/geo"
)

// processStarted is since when there can be anything in the windows.
var processStarted = time.Now()

// statusResource is GET /flowmaster/status.
type statusResource struct {
	Addresses  string             `json:"addresses"`
	MaskIPv4   uint8              `json:"mask_ipv4"`
	MaskIPv6   uint8              `json:"mask_ipv6"`
	Flows      flow.Status        `json:"flows"`
	Totals     map[string]legView `json:"totals"`
	Templates  decode.StoreStatus `json:"templates"`
	Collectors []CollectorStatus  `json:"collectors"`
	Received   []receivedView     `json:"received"`
	Exports    []ExportStatus     `json:"exports"`
	GeoIP      []geo.Status       `json:"geoip"`
	// MemoryBytes is about what all of it takes; in flows is what flows, windows and top
	// lists do.
	MemoryBytes int64 `json:"memory_bytes"`
}

// legView is what one leg carried.
type legView struct {
	flow.Totals
	// OctetsPerSecond is over both directions, scaled by the sampling interval; 0 in
	// totals since the beginning.
	OctetsPerSecond float64 `json:"octets_per_second,omitempty"`
}

// receivedView is what came from the exporters that one entry of the allow list names.
type receivedView struct {
	Exporter        string `json:"exporter"`
	Datagrams       uint64 `json:"datagrams"`
	Records         uint64 `json:"records"`
	Dropped         uint64 `json:"dropped"`
	SequenceGaps    uint64 `json:"sequence_gaps"`
	TemplateMissing uint64 `json:"template_missing"`
	DecodeErrors    uint64 `json:"decode_errors"`
	KernelDrops     uint64 `json:"kernel_drops"`
}

func received() []receivedView {
	readKernelDrops()
	list := []receivedView{}
	for _, c := range exporterCountersList() {
		list = append(list, receivedView{
			c.name, c.datagrams.Load(), c.records.Load(), c.dropped.Load(), c.sequenceGaps.Load(),
			c.templateMissing.Load(), c.decodeErrors.Load(), c.kernelDrops.Load(),
		})
	}
	return list
}

func legs(t flow.LegTotals, over time.Duration) map[string]legView {
	all := make(map[string]legView)
	for l := flow.LegDownstream; l <= flow.LegObserved; l++ {
		v := legView{Totals: t.Leg(l)}
		if over > 0 {
			v.OctetsPerSecond = (float64(v.Octets) + float64(v.ReverseOctets)) / over.Seconds()
		}
		all[l.String()] = v
	}
	return all
}

func (a *App) statusResource(*query) (any, error) {
	st := a.state.monitor.Status()
	r := statusResource{
		Addresses: cmp.Or(a.Addresses, addressesMask), MaskIPv4: a.state.key.mask.IPv4, MaskIPv6: a.state.key.mask.IPv6,
		Flows: st, Totals: legs(st.Total, 0), Templates: a.state.templates.Status(),
		Collectors: []CollectorStatus{}, Received: received(), Exports: []ExportStatus{},
		GeoIP: a.state.geo.Status(), MemoryBytes: a.memory(),
	}
	for _, c := range a.collectors {
		r.Collectors = append(r.Collectors, c.Status())
	}
	for _, e := range a.Exports {
		r.Exports = append(r.Exports, e.Status())
	}
	return r, nil
}

// summaryResource is GET /flowmaster/summary.
type summaryResource struct {
	Window string    `json:"window"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	// CoveredSeconds is how much of the window the process has been running for; rates
	// are over this time.
	CoveredSeconds float64            `json:"covered_seconds"`
	Legs           map[string]legView `json:"legs"`
	// Clients estimates how many different addresses asked, with a standard error of
	// 0.8 %; whole addresses are told apart though none is stored.
	Clients         uint64         `json:"distinct_clients"`
	ClientsStdError float64        `json:"distinct_clients_standard_error"`
	Flows           int            `json:"active_flows"`
	Evicted         uint64         `json:"evicted_flows"`
	Received        []receivedView `json:"received"`
	Buckets         []bucketView   `json:"buckets,omitempty"`
}

type bucketView struct {
	Start time.Time          `json:"start"`
	Legs  map[string]legView `json:"legs"`
}

func (a *App) summaryResource(q *query) (any, error) {
	w, err := q.window()
	if err != nil {
		return nil, err
	}
	all, err := q.flag("buckets")
	if err != nil {
		return nil, err
	}
	m := a.state.monitor
	buckets := m.Buckets(w)
	var sum flow.LegTotals
	for i := range buckets {
		for l := range buckets[i].Totals {
			sum[l].Add(&buckets[i].Totals[l])
		}
	}
	st := m.Status()
	r := summaryResource{Window: w.String(), Flows: st.Flows, Evicted: st.Evicted, Received: received(), ClientsStdError: 0.008}
	r.Clients, _, r.To = m.Distinct(w)
	covered := min(w.Span(), max(r.To.Sub(processStarted), time.Second))
	r.From, r.CoveredSeconds = r.To.Add(-covered), covered.Seconds()
	r.Legs = legs(sum, covered)
	if all {
		for _, b := range buckets {
			r.Buckets = append(r.Buckets, bucketView{b.Start.UTC(), legs(b.Totals, w.Step())})
		}
	}
	return r, nil
}

// topResource is GET /flowmaster/top.
type topResource struct {
	By     string     `json:"by"`
	Window string     `json:"window"`
	From   time.Time  `json:"from"`
	To     time.Time  `json:"to"`
	Top    []topEntry `json:"top"`
	// TotalOctets is the sum over all keys; UncountedOctets the most that a key can have
	// that is not in the list.
	TotalOctets     uint64 `json:"total_octets"`
	UncountedOctets uint64 `json:"uncounted_octets"`
	Method          string `json:"method"`
}

// topEntry is one key: it has at most octets, and at least octets less error_octets.
type topEntry struct {
	Name string `json:"name"`
	// Organization is who runs the AS, where a database tells.
	Organization string  `json:"organization,omitempty"`
	Octets       uint64  `json:"octets"`
	ErrorOctets  uint64  `json:"error_octets"`
	Share        float64 `json:"share"`
	PerSecond    float64 `json:"octets_per_second"`
}

func (a *App) topResource(q *query) (any, error) {
	d, err := q.dimension()
	if err != nil {
		return nil, err
	}
	w, err := q.window()
	if err != nil {
		return nil, err
	}
	n, err := q.limit(20, 1000)
	if err != nil {
		return nil, err
	}
	t := a.state.monitor.Top(d, w, n)
	r := topResource{
		By: d.String(), Window: w.String(), From: t.From, To: t.To, Top: []topEntry{}, TotalOctets: t.TotalOctets,
		UncountedOctets: t.UncountedOctets, Method: "space-saving: octets of both directions, scaled by the sampling interval",
	}
	span := max(t.To.Sub(t.From), time.Second).Seconds()
	for _, e := range t.Entries {
		org := ""
		if d == flow.ByClientAS {
			org = a.state.geo.Organization(e.Key.Number)
		}
		r.Top = append(r.Top, topEntry{e.Name, org, e.Octets, e.ErrorOctets, float64(e.Octets) / float64(max(t.TotalOctets, 1)), float64(e.Octets) / span})
	}
	return r, nil
}

// connectionsResource is GET /flowmaster/connections.
type connectionsResource struct {
	// Connections are active flows, own and others'.
	Connections []flow.RecordView `json:"connections"`
	// Truncated says that there are more than limit.
	Truncated bool `json:"truncated"`
	// Open are connections that this process has open now.
	Open          []openView `json:"open"`
	OpenTruncated bool       `json:"open_truncated"`
}

func (a *App) connectionsResource(q *query) (any, error) {
	n, err := q.limit(100, 10_000)
	if err != nil {
		return nil, err
	}
	keep, err := q.flows(a.state.names, a.state.key)
	if err != nil {
		return nil, err
	}
	list := a.state.monitor.Flows(n+1, keep)
	r := connectionsResource{Connections: []flow.RecordView{}, Truncated: len(list) > n}
	list = list[:min(n, len(list))]
	slices.SortFunc(list, func(x, y flow.Record) int { return cmp.Compare(y.ScaledOctets(), x.ScaledOctets()) })
	for i := range list {
		r.Connections = append(r.Connections, list[i].View(a.state.names))
	}
	r.Open, r.OpenTruncated = a.openConnections(n, keep)
	return r, nil
}

// exportersResource is GET /flowmaster/exporters.
type exportersResource struct {
	Exporters []decode.ExporterStatus `json:"exporters"`
	Truncated bool                    `json:"truncated"`
	Store     decode.StoreStatus      `json:"store"`
	Received  []receivedView          `json:"received"`
}

func (a *App) exportersResource(q *query) (any, error) {
	n, err := q.limit(256, 10_000)
	if err != nil {
		return nil, err
	}
	p, err := q.prefix("address")
	if err != nil {
		return nil, err
	}
	r := exportersResource{Exporters: []decode.ExporterStatus{}, Store: a.state.templates.Status(), Received: received()}
	for _, e := range a.state.templates.Exporters() {
		switch {
		case p.IsValid() && !p.Contains(e.Address):
		case len(r.Exporters) == n:
			r.Truncated = true
		default:
			r.Exporters = append(r.Exporters, e)
		}
	}
	return r, nil
}

func (a *App) hostResource(*query) (any, error) {
	r := theHost.report(a.Host, time.Now())
	if a.Host != nil && a.Host.Off {
		return nil, apiError(http.StatusNotFound, "%s", r.Note)
	}
	if a.Host != nil && a.Host.Sockets != nil {
		r.Sockets = a.state.sockets.latest.Load()
	}
	return r, nil
}
