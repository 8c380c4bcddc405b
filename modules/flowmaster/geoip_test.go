package flowmaster

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/geo"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/geo/geotest"
)

// replace puts a file in place as geoipupdate does: written beside it, then renamed.
func replace(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path+".temporary", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".temporary", path); err != nil {
		t.Fatal(err)
	}
}

// database returns a database with an entry for some networks.
func database(kind string, entry geotest.Map, networks ...string) []byte {
	w := &geotest.Writer{Type: kind, Built: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	for _, n := range networks {
		w.Add(n, entry)
	}
	return w.Bytes()
}

func asn(n uint32, name string) geotest.Map {
	return geotest.Map{"autonomous_system_number": n, "autonomous_system_organization": name}
}

func countryOf(code string) geotest.Map { return geotest.Map{"country": geotest.Map{"iso_code": code}} }

func TestGeoIPCaddyfile(t *testing.T) {
	var got struct {
		Apps map[string]json.RawMessage `json:"apps"`
	}
	if err := json.Unmarshal(adapt(t, "{\n\tflowmaster {\n\t\tgeoip a.mmdb b.mmdb {\n\t\t\tmax_size 1GiB\n\t\t}\n\t}\n}\n"), &got); err != nil {
		t.Fatal(err)
	}
	if s, want := string(got.Apps["flowmaster"]), `{"geoip":{"files":["a.mmdb","b.mmdb"],"max_size":1073741824}}`; s != want {
		t.Errorf("gives %s, want %s", s, want)
	}
	for in, want := range map[string]string{
		"geoip":                            "argument",
		"geoip a {\n\tx 1\n}":              `unrecognized subdirective "x" of geoip`,
		"geoip a {\n\tmax_size large\n}":   `max_size is "large"`,
		"geoip a.mmdb\n\t\tgeoip b.mmdb\n": "geoip is given already",
	} {
		_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("{\n\tflowmaster {\n\t\t"+in+"\n\t}\n}\n"), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngives error %v, want one with %q", in, err, want)
		}
	}
}

// openIn counts the open files of this process that are in dir.
func openIn(t *testing.T, dir string) (n int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("open files cannot be listed here: %v", err)
	}
	for _, e := range list {
		if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(to, dir) {
			n++
		}
	}
	return n
}

// A database that is of no use is an error that names it, before anything starts; and
// validating leaves nothing open and nothing behind.
func TestGeoIPValidate(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		replace(t, filepath.Join(dir, name), b)
		return filepath.Join(dir, name)
	}
	good := database("GeoLite2-ASN", asn(64500, "Example"), "192.0.2.0/24")
	validate := func(app string) error {
		cfg := new(caddy.Config)
		text := fmt.Sprintf(`{"admin":{"disabled":true},"apps":{"flowmaster":%s}}`, app)
		if err := json.Unmarshal([]byte(text), cfg); err != nil {
			t.Fatal(err)
		}
		return caddy.Validate(cfg)
	}
	list := func(files ...string) string {
		b, _ := json.Marshal(files)
		return fmt.Sprintf(`{"geoip":{"files":%s}}`, b)
	}
	before := countStates()
	if err := validate(list(file("good.mmdb", good))); err != nil {
		t.Error(err)
	}
	for app, want := range map[string]string{
		`{"geoip":{}}`: "geoip has no files",
		`{"geoip":{"files":["x"],"max_size":-1}}`:                              "geoip max_size is -1",
		list(filepath.Join(dir, "none.mmdb")):                                  "geoip " + filepath.Join(dir, "none.mmdb"),
		list(file("cut.mmdb", good[:len(good)/2])):                             "geoip " + filepath.Join(dir, "cut.mmdb"),
		list(file("empty.mmdb", nil)):                                          "the file is empty",
		list(file("text.mmdb", []byte("<html>license key is invalid</html>"))): "geoip " + filepath.Join(dir, "text.mmdb"),
		list(file("anonymous.mmdb", database("GeoIP2-Anonymous-IP", geotest.Map{"is_anonymous": uint32(1)}, "192.0.2.0/24"))): `type "GeoIP2-Anonymous-IP": it has neither`,
		list(filepath.Join(dir, "good.mmdb"), filepath.Join(dir, "good.mmdb")):                                                "stand there once",
		list(filepath.Join(dir, "good.mmdb"), filepath.Join(dir, "none.mmdb")):                                                "geoip " + filepath.Join(dir, "none.mmdb"),
		fmt.Sprintf(`{"geoip":{"files":[%q],"max_size":10}}`, filepath.Join(dir, "good.mmdb")):                                "more than the 10 that max_size allows",
	} {
		if err := validate(app); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngives error %v, want one with %q", app, err, want)
		}
	}
	if n := countStates(); n != before {
		t.Errorf("%d states, there were %d", n, before)
	}
	if n := openIn(t, dir); n != 0 {
		t.Errorf("%d files are open", n)
	}
}

// Countries and AS numbers come from whole addresses, though masked ones are stored; what an
// exporter says goes first; the API names who runs an AS.
func TestGeoIPTopLists(t *testing.T) {
	dir := t.TempDir()
	asFile, countryFile := filepath.Join(dir, "asn.mmdb"), filepath.Join(dir, "country.mmdb")
	replace(t, asFile, database("GeoLite2-ASN", asn(64500, "Example Net"), "192.0.2.128/25", "127.0.0.0/8"))
	replace(t, countryFile, database("GeoLite2-Country", countryOf("DE"), "192.0.2.128/25", "127.0.0.0/8"))
	app, admin := runWithAdmin(t, fmt.Sprintf("geoip %s %s", asFile, countryFile))
	now := time.Now()
	low, high, said := record(now, "192.0.2.1", "198.51.100.7", 100), record(now, "192.0.2.200", "198.51.100.7", 1000), record(now, "192.0.2.201", "198.51.100.7", 50)
	said.Leg, said.SourceAS = flow.LegObserved, 65000
	said.SourceTransportPort = 40001
	app.state.take(0, []flow.Record{low, high, said})
	st := ask[statusResource](t, admin, "/flowmaster/status", 200)
	if len(st.GeoIP) != 2 || st.GeoIP[0].Type != "GeoLite2-ASN" || st.GeoIP[0].NetworksWithAS != 2 || st.GeoIP[1].NetworksWithCountry != 2 || st.GeoIP[0].File != asFile {
		t.Errorf("%+v", st.GeoIP)
	}
	top := ask[topResource](t, admin, "/flowmaster/top?by=client_as", 200)
	if len(top.Top) != 2 || top.Top[0].Name != "AS64500" || top.Top[0].Octets != 1000 || top.Top[0].Organization != "Example Net" ||
		top.Top[1].Name != "AS65000" || top.Top[1].Organization != "" {
		t.Errorf("top of AS: %+v", top.Top)
	}
	if top = ask[topResource](t, admin, "/flowmaster/top?by=client_country", 200); len(top.Top) != 1 || top.Top[0].Name != "DE" || top.Top[0].Octets != 1050 {
		t.Errorf("top of countries: %+v", top.Top)
	}
	registry := prometheus.NewPedanticRegistry()
	if err := registerMetrics(registry); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("# HELP caddy_flowmaster_geoip_networks Networks that the database of addresses tells apart.\n"+
		"# TYPE caddy_flowmaster_geoip_networks gauge\ncaddy_flowmaster_geoip_networks{file=%q} 2\ncaddy_flowmaster_geoip_networks{file=%q} 2\n", asFile, countryFile)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(text), "caddy_flowmaster_geoip_networks"); err != nil {
		t.Error(err)
	}
	for _, r := range app.state.monitor.Flows(10, nil) {
		if ip := r.SourceAddress.String(); ip != "192.0.2.0" {
			t.Errorf("%s is stored whole", ip)
		}
	}
}

// Own connections of clients are looked up.
func TestGeoIPOwnConnections(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.mmdb")
	replace(t, file, database("Combined", geotest.Map{"asn": "AS64511", "country_code": "SE"}, "127.0.0.0/8"))
	app, _ := runWithAdmin(t, "geoip "+file)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p := app.state.process
	conn := p.watch(accepted, p.endpoints.acquire(endpointKey{leg: flow.LegDownstream, server: "geo"}))
	fmt.Fprint(conn, "hello")
	conn.Close()
	for _, r := range app.state.monitor.Flows(10, nil) {
		if r.SourceAS == 64511 && r.SourceCountry == (flow.Country{'S', 'E'}) && r.DestinationAS == 0 && r.DestinationCountry == (flow.Country{}) {
			return
		}
	}
	t.Errorf("flows are %+v", app.state.monitor.Flows(10, nil))
}

// A file that is replaced is taken over without a restart; with a bad one the old stays and
// the status says so; a reload shares what is loaded, and refuses what is bad.
func TestGeoIPReplaced(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.mmdb")
	version := func(n uint32) []byte { return database("GeoLite2-ASN", asn(n, "n"), "192.0.2.0/24") }
	replace(t, file, version(1))
	app, admin := runWithAdmin(t, "sweep_interval 1s\n\t\tgeoip "+file)
	inForce := func() uint32 { return app.state.geo.Lookup(addrOf("192.0.2.1"), geo.Info{}).AS }
	status := func() geo.Status { return ask[statusResource](t, admin, "/flowmaster/status", 200).GeoIP[0] }
	if n := inForce(); n != 1 {
		t.Fatalf("AS %d is in force", n)
	}
	replace(t, file, version(2))
	eventually(t, "the new file is in force", func() bool { return inForce() == 2 })
	replace(t, file, version(3)[:100])
	eventually(t, "the status tells of the bad file", func() bool { return status().Error != "" })
	if s := status(); inForce() != 2 || s.Failures != 1 || s.FailedAt.IsZero() || s.Networks != 1 {
		t.Errorf("AS %d is in force, %+v", inForce(), s)
	}
	config := func(i int) []byte {
		text := fmt.Sprintf("sweep_interval 1s\n\t\tlimits {\n\t\t\tnames %d\n\t\t}\n\t\tgeoip %s", 100+i, file)
		return adapt(t, strings.Replace(option(text), "admin off", "admin "+admin, 1))
	}
	if err := caddy.Load(config(0), true); err == nil || !strings.Contains(err.Error(), "geoip "+file) {
		t.Errorf("a reload with a bad file gives %v", err)
	}
	if runningApp(t) != app || inForce() != 2 {
		t.Error("the reload that failed has changed something")
	}
	replace(t, file, version(4))
	d := app.state.geo[0]
	for i := range 20 {
		if err := caddy.Load(config(i+1), true); err != nil {
			t.Fatal(err)
		}
	}
	app = runningApp(t)
	if app.state.geo[0] != d || inForce() != 4 || countStates() != 3 {
		t.Errorf("the database was read anew: AS %d is in force, %d states", inForce(), countStates())
	}
	// Without the option it is given back.
	if err := caddy.Load(adapt(t, strings.Replace(option(""), "admin off", "admin "+admin, 1)), true); err != nil {
		t.Fatal(err)
	}
	if n := countStates(); n != 2 {
		t.Errorf("%d states, want 2", n)
	}
}
