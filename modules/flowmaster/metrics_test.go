package flowmaster

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/conninfo"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

func gathered(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	list, err := runningApp(t).ctx.GetMetricsRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]*dto.MetricFamily)
	for _, f := range list {
		if strings.HasPrefix(f.GetName(), "caddy_flowmaster_") {
			all[strings.TrimPrefix(f.GetName(), "caddy_flowmaster_")] = f
		}
	}
	return all
}

// Every metric has a help text and labels that come from the configuration, and says what
// happened.
func TestMetrics(t *testing.T) {
	b := startBackend(t, nil, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	addr := freeAddr(t)
	startCaddy(t, proxySite(addr, "http", fmt.Sprintf("lbpro %s {\n\tpool p\n}", b.addr)))
	var client tally
	hc := &http.Client{Transport: &http.Transport{DialContext: client.dial}, Timeout: patience}
	for range 3 {
		res, err := hc.Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	hc.CloseIdleConnections()
	b.server.Close()
	down, up := endpointOf(t, clients()), endpointOf(t, endpointKey{leg: flow.LegUpstream, pool: "p", backend: b.addr})
	exactly(t, "client", down, &client)
	exactly(t, "backend", up, &b.tally)
	eventually(t, "there is a health of the path", func() bool { return len(theProcess().paths()) == 1 })

	all := gathered(t)
	value := func(name string, labels ...string) (v float64) {
		t.Helper()
		f := all[name]
		if f == nil {
			t.Fatalf("there is no metric %s", name)
		}
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
	next:
		for _, m := range f.Metric {
			has := make(map[string]string)
			for _, l := range m.Label {
				has[l.GetName()] = l.GetValue()
			}
			for i := 0; i < len(labels); i += 2 {
				if has[labels[i]] != labels[i+1] {
					continue next
				}
			}
			switch {
			case m.Histogram != nil:
				v += float64(m.Histogram.GetSampleCount())
			case m.Counter != nil:
				v += m.Counter.GetValue()
			default:
				v += m.Gauge.GetValue()
			}
		}
		return v
	}
	for _, c := range []struct {
		got, want float64
		what      string
	}{
		{value("flow_bytes_total", "leg", "downstream", "server", "web", "direction", "received"), float64(client.out.Load()), "octets of clients"},
		{value("flow_bytes_total", "leg", "downstream", "server", "web", "direction", "sent"), float64(client.in.Load()), "octets to clients"},
		{value("flow_bytes_total", "leg", "upstream", "pool", "p", "backend", b.addr, "direction", "sent"), float64(b.in.Load()), "octets to the backend"},
		{value("connections_active"), 0, "open connections"},
		{value("connections_total", "leg", "downstream"), 1, "connections of clients"},
		{value("connections_total", "leg", "upstream"), float64(b.conns.Load()), "connections to the backend"},
		{value("upstream_connect_seconds", "backend", b.addr), float64(b.conns.Load()), "times to connect"},
		{value("upstream_connect_failures_total"), 0, "failed connects"},
		{value("path_score", "backend", b.addr), 1, "score"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
	if conninfo.Supported {
		if value("tcp_rtt_seconds", "leg", "upstream") < 1 || value("tcp_min_rtt_seconds", "leg", "downstream") < 1 {
			t.Error("there are no round-trip times")
		}
		if got := value("tcp_sent_bytes_total", "leg", "upstream") - value("tcp_retransmitted_bytes_total", "leg", "upstream"); got != float64(b.in.Load()) {
			t.Errorf("TCP sent %v octets to the backend, want %d", got, b.in.Load())
		}
	}
	for _, name := range []string{"tcp_busy_seconds_total", "tcp_limited_seconds_total", "tcp_delivery_rate_bytes", "tcp_ecn_ce_total",
		"flows_active", "flows_evicted_total", "memory_bytes", "connections_untracked_total", "sweep_readings_total", "sweep_deferred_total"} {
		value(name)
	}
}

// Past its limit the table takes no more, says so, and connections still count at their end.
func TestConnectionLimit(t *testing.T) {
	addr := freeAddr(t)
	text := strings.Replace(proxySite(addr, "http", "respond ok"), "sweep_interval 1s", "limits {\n\t\t\tconnections 2\n\t\t}", 1)
	startCaddy(t, text)
	var client tally
	transport := &http.Transport{DialContext: client.dial, MaxIdleConnsPerHost: 10}
	hc := &http.Client{Transport: transport, Timeout: patience}
	var bodies []io.Closer
	for range 5 {
		res, err := hc.Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, res.Body) // held open, so that each request has its connection
	}
	if n := client.conns.Load(); n != 5 {
		t.Fatalf("%d connections, want 5", n)
	}
	p := theProcess()
	if n, beyond := p.downstream.len(), p.size.beyond.Load(); n != 2 || beyond != 3 {
		t.Errorf("%d connections in the table and %d past its limit, want 2 and 3", n, beyond)
	}
	for _, b := range bodies {
		b.Close()
	}
	transport.CloseIdleConnections()
	exactly(t, "client", endpointOf(t, clients()), &client)
	if n := p.size.now.Load(); n != 0 {
		t.Errorf("the table says it has %d", n)
	}
}

// Past the limit of names what is new counts as other.
func TestNamesLimit(t *testing.T) {
	p := newProcess()
	p.endpoints.limit.Store(2)
	for _, b := range []string{"a", "b", "c", "d", "c"} {
		p.endpoints.release(p.endpoints.acquire(endpointKey{leg: flow.LegUpstream, pool: "p", backend: b}))
	}
	if n := len(p.endpoints.all); n != 3 {
		t.Errorf("%d endpoints, want a, b and other", n)
	}
	o := p.endpoints.all[endpointKey{leg: flow.LegUpstream, pool: otherName, backend: otherName}]
	if o == nil || o.path != nil || p.endpoints.refused.Load() != 3 {
		t.Errorf("other is %+v, refused %d", o, p.endpoints.refused.Load())
	}
	for _, e := range p.endpoints.all {
		e.used.Store(0)
	}
	held := p.endpoints.acquire(endpointKey{leg: flow.LegUpstream, pool: "p", backend: "a"})
	held.used.Store(0)
	now := timeOf(2 * int64(endpointIdle.Seconds()))
	p.endpoints.expire(now)
	if len(p.endpoints.all) != 1 || p.endpoints.all[held.key] != held || len(p.endpoints.paths) != 1 {
		t.Errorf("%d endpoints and %d paths are left, want the one in use", len(p.endpoints.all), len(p.endpoints.paths))
	}
	p.endpoints.release(held)
	if err := p.Destruct(); err != nil || len(p.endpoints.all)+len(p.endpoints.paths) != 0 {
		t.Errorf("something is left at the end: %v", err)
	}
}

// Registering again, as every configuration does, is no error.
func TestRegisterTwice(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	for range 2 {
		if err := registerMetrics(r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Gather(); err != nil {
		t.Error(err)
	}
}
