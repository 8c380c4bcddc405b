package flowmaster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// runWithAdmin runs Caddy with its admin API and the content of the global option.
func runWithAdmin(t *testing.T, content string) (app *App, admin string) {
	t.Helper()
	admin = freeAddr(t)
	startCaddy(t, strings.Replace(option(content), "admin off", "admin "+admin, 1))
	t.Cleanup(func() {
		// Stop alone leaves the admin API running.
		if err := caddy.Load([]byte(`{"admin":{"disabled":true}}`), true); err != nil {
			t.Errorf("ending the admin API: %v", err)
		}
	})
	return runningApp(t), admin
}

// ask sends a GET to the admin API and decodes the answer.
func ask[T any](t *testing.T, admin, uri string, code int) (v T) {
	t.Helper()
	res, err := http.Get("http://" + admin + uri)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != code {
		t.Fatalf("GET %s: status %d, want %d", uri, res.StatusCode, code)
	}
	d := json.NewDecoder(res.Body)
	if err := d.Decode(&v); err != nil {
		t.Fatalf("GET %s: %v", uri, err)
	}
	return v
}

func TestAdminAPI(t *testing.T) {
	port := freePort(t)
	app, admin := runWithAdmin(t, fmt.Sprintf("collector netflow {\nlisten 127.0.0.1:%d\n}\nexport udp/%s", port, freeAddr(t)))
	now := time.Now()
	mine := record(now, "192.0.2.1", "198.51.100.7", 5000)
	mine.Backend, mine.Pool = app.state.names.ID("10.0.0.1:80"), app.state.names.ID("web")
	other := record(now, "203.0.113.9", "198.51.100.7", 300)
	other.DestinationTransportPort = 8080
	app.state.take(0, []flow.Record{mine, other})
	records := delta(countersOf(loopbackExporters).records.Load)
	e := encoder()
	sendTo(t, port).send(message(e, 20))
	eventually(t, "the records are there", func() bool { return records() == 20 })

	st := ask[statusResource](t, admin, "/flowmaster/status", 200)
	if st.Addresses != "mask" || st.MaskIPv4 != 24 || st.MaskIPv6 != 48 || len(st.Collectors) != 1 || len(st.Exports) != 1 || st.Templates.Templates != 4 {
		t.Errorf("%+v", st)
	}
	if d := st.Totals["downstream"]; d.Records != 2 || d.Octets != 5300 || st.Totals["observed"].Records != 20 {
		t.Errorf("totals %+v", st.Totals)
	}
	type sumT = summaryResource
	eventually(t, "the windows have it", func() bool {
		s := ask[sumT](t, admin, "/flowmaster/summary?window=1m&buckets=true", 200)
		return s.Legs["observed"].Records == 20 && s.Legs["downstream"].Octets == 5300 && s.Clients >= 2 && len(s.Buckets) == flow.WindowBuckets
	})
	top := ask[topResource](t, admin, "/flowmaster/top?by=client_prefix&limit=2", 200)
	if len(top.Top) != 2 || top.Top[0].Name != "198.51.100.0/24" || top.TotalOctets == 0 {
		t.Errorf("top %+v", top)
	}
	if top = ask[topResource](t, admin, "/flowmaster/top?by=backend&window=1h", 200); len(top.Top) != 1 || top.Top[0].Name != "10.0.0.1:80" || top.Top[0].Octets != 5000 {
		t.Errorf("top of backends %+v", top)
	}
	for filter, want := range map[string]int{
		"leg=downstream": 2, "leg=observed": 20, "pool=web": 1, "backend=10.0.0.1:80": 1, "server=x": 0, "prefix=203.0.113.0/24": 1,
		"prefix=::ffff:203.0.113.0/120": 1, "prefix=0.0.0.0/0": 22, "prefix=::/0": 0, "pool=%ff%fe": 0, "backend=nobody": 0, "port=0": 0, "leg=": 22,
		"port=8080": 1, "source=ipfix": 20, "exporter=127.0.0.1": 20, "leg=downstream&port=443": 1, "limit=5": 5,
	} {
		got := ask[struct {
			Connections []map[string]any
			Truncated   bool
		}](t, admin, "/flowmaster/connections?"+filter, 200)
		if len(got.Connections) != want || got.Truncated != (filter == "limit=5") {
			t.Errorf("%s: %d flows, want %d (truncated %v)", filter, len(got.Connections), want, got.Truncated)
		}
		for _, c := range got.Connections {
			if ip, _ := c["sourceIPv4Address"].(string); !strings.HasSuffix(ip, ".0") {
				t.Errorf("%s: an address is shown whole: %q", filter, ip)
			}
		}
	}
	ex := ask[exportersResource](t, admin, "/flowmaster/exporters?address=127.0.0.1", 200)
	if len(ex.Exporters) != 1 || ex.Exporters[0].Counters.Records < 20 {
		t.Errorf("exporters %+v", ex)
	}
	if none := ask[exportersResource](t, admin, "/flowmaster/exporters?address=192.0.2.0/24", 200); len(none.Exporters) != 0 {
		t.Errorf("exporters elsewhere: %+v", none)
	}
	type failure struct{ Error string }
	for uri, mention := range map[string]string{
		"/flowmaster/top?by=colour": "client_prefix", "/flowmaster/top?window=2m": "10m", "/flowmaster/top?limit=0": "1000",
		"/flowmaster/connections?prot=6": "port", "/flowmaster/connections?leg=left": "downstream", "/flowmaster/connections?port=x": "65535",
		"/flowmaster/connections?leg=%zz": "escape", "/flowmaster/connections?leg=downstream;leg=upstream": "joined by &", "/flowmaster/top?a;b=1": "joined by &",
		"/flowmaster/top?limit=5&limit=-1": "give it once", "/flowmaster/connections?leg=downstream&leg=upstream": "give it once",
		"/flowmaster/top?limit=-1": "1 to 1000", "/flowmaster/top?limit=1e3": "1 to 1000", "/flowmaster/top?limit=99999999999999999999": "1 to 1000",
		"/flowmaster/top?limit=%D9%A3": "1 to 1000", "/flowmaster/exporters?limit=10001": "1 to 10000", "/flowmaster/exporters?address=all": "192.0.2.0/24",
		"/flowmaster/connections?limit=5%00": "1 to 10000", "/flowmaster/connections?port=-1": "65535", "/flowmaster/connections?port=65536": "65535",
		"/flowmaster/connections?source=" + strings.Repeat("%F0%9F%90%8C", 500): "netflow5", "/flowmaster/connections?prefix=fe80::1%25lo": "zone",
		"/flowmaster/connections?prefix=203.0.113.9": "ask for 203.0.113.0/24", "/flowmaster/connections?prefix=2001:db8::1": "ask for 2001:db8::/48",
		"/flowmaster/path?back=x": "backend", "/flowmaster/host?x=": "none",
		"/flowmaster/connections?prefix=x": "192.0.2.0/24", "/flowmaster/status?x=1": "none", "/flowmaster/summary?buckets=maybe": "true or false",
	} {
		if f := ask[failure](t, admin, uri, 400); !strings.Contains(f.Error, mention) || len(f.Error) > 1000 {
			t.Errorf("%s: %q does not mention %q", uri, f.Error, mention)
		}
	}
	if f := ask[failure](t, admin, "/flowmaster/gossip", 404); !strings.Contains(f.Error, "summary") {
		t.Errorf("no such resource: %q", f.Error)
	}
	// For others that show it, the same without the admin API.
	w := httptest.NewRecorder()
	var e2 caddy.APIError
	if err := app.ServeAPI(w, httptest.NewRequest(http.MethodPost, "/flowmaster/status", nil)); !errors.As(err, &e2) || e2.HTTPStatus != 405 {
		t.Errorf("POST: %v", err)
	}
	if err := app.ServeAPI(w, httptest.NewRequest(http.MethodGet, "/flowmaster/status/", nil)); err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("GET: %v", err)
	}

	// The commands show the same.
	at := []string{"--address", admin}
	for _, args := range [][]string{{"status"}, {"top"}, {"top", "--by", "backend"}, {"status", "--json"}, {"top", "--json"}} {
		out, errs, err := run(t, append(args, at...)...)
		if err != nil || errs != "" || out == "" {
			t.Errorf("%v: %v %s", args, err, errs)
		}
		if args[len(args)-1] == "--json" && !json.Valid([]byte(out)) {
			t.Errorf("%v prints no JSON: %s", args, out)
		}
		if want := map[string]string{"status": "KERNEL DROPS", "top": "198.51.100.0/24", "backend": "10.0.0.1:80"}[args[len(args)-1]]; !strings.Contains(out, want) {
			t.Errorf("%v does not print %q:\n%s", args, want, out)
		}
	}
	if _, _, err := run(t, "top", "--by", "colour", "--address", admin); err == nil || !strings.Contains(err.Error(), "client_prefix") {
		t.Errorf("an unknown dimension: %v", err)
	}
	if _, _, err := run(t, "status", "--address", freeAddr(t)); err == nil || !strings.Contains(err.Error(), "--address") {
		t.Errorf("nobody there: %v", err)
	}
}

func TestAdminAPIWithoutTheApp(t *testing.T) {
	admin := freeAddr(t)
	startCaddy(t, "{\n\t"+strings.Replace(quiet, "admin off", "admin "+admin, 1)+"}\n")
	t.Cleanup(func() { _ = caddy.Load([]byte(`{"admin":{"disabled":true}}`), true) })
	if f := ask[struct{ Error string }](t, admin, "/flowmaster/status", 404); !strings.Contains(f.Error, "global option") {
		t.Errorf("%q", f.Error)
	}
}

// What the host's counters say agrees with the kernel's files.
func TestHostCounters(t *testing.T) {
	if _, err := os.Stat("/proc/self/net/netstat"); err != nil {
		t.Skipf("no counters here: %v", err)
	}
	app, admin := runWithAdmin(t, "host {\ninterfaces lo\n}")
	r := ask[HostReport](t, admin, "/flowmaster/host", 200)
	if len(r.Interfaces) != 1 || r.Interfaces[0].Name != "lo" || r.TCP.SegmentsSent <= 0 || r.Note != "" {
		t.Errorf("%+v", r)
	}
	if entries, err := os.ReadDir("/sys/class/net"); err == nil && r.InterfacesLeftOut != countInterfaces(entries)-1 {
		t.Errorf("%d interfaces left out of %d", r.InterfacesLeftOut, len(entries))
	}
	// Datagrams to nobody are counted by the kernel, and by us.
	to := sendTo(t, freePort(t))
	for range 5 {
		_, _ = to.Write([]byte("x")) // some fail, when the answer to one before has come
	}
	eventually(t, "the kernel counts datagrams to nobody", func() bool {
		return readHost(app.Host).UDP.NoPort > r.UDP.NoPort
	})
	countersOf(anyExporter) // as every collector does
	families, err := app.ctx.GetMetricsRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*dto.MetricFamily{}
	for _, f := range families {
		found[f.GetName()] = f
	}
	for _, name := range []string{
		"caddy_flowmaster_host_listen_overflows_total", "caddy_flowmaster_host_listen_drops_total", "caddy_flowmaster_host_tcp_retransmitted_segments_total",
		"caddy_flowmaster_host_udp_receive_buffer_errors_total", "caddy_flowmaster_host_interface_receive_drops_total", "caddy_flowmaster_collector_kernel_drops_total",
	} {
		if found[name] == nil {
			t.Errorf("no metric %s", name)
		}
	}
	if f := found["caddy_flowmaster_host_interface_received_bytes_total"]; f == nil || len(f.Metric) != 1 || f.Metric[0].Label[0].GetValue() != "lo" {
		t.Errorf("interfaces: %v", f)
	}
	refused(t, "host on", "off")
	refused(t, "host {\ncolour red\n}", "colour")
}

func countInterfaces(entries []os.DirEntry) (n int) {
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join("/sys/class/net", e.Name(), "ifindex")); err == nil {
			n++
		}
	}
	return n
}

func TestHostCanBeOff(t *testing.T) {
	_, admin := runWithAdmin(t, "host off")
	if f := ask[struct{ Error string }](t, admin, "/flowmaster/host", 404); !strings.Contains(f.Error, "off") {
		t.Errorf("%q", f.Error)
	}
	ch := make(chan prometheus.Metric, 1000)
	hostCollector{}.Collect(ch)
	if len(ch) != 0 {
		t.Errorf("%d metrics although it is off", len(ch))
	}
}
