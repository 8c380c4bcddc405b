package geo

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/geo/geotest"
)

type m = geotest.Map

var build = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func addr(s string) flow.Addr { return flow.AddrFrom(netip.MustParseAddr(s)) }

// write puts a file in place as updaters do: whole, under another name, and then renamed.
func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, w *geotest.Writer) *Database {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.mmdb")
	write(t, path, w.Bytes())
	d, err := Open(t.Context(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func as(n uint32, name string) m {
	return m{"autonomous_system_number": n, "autonomous_system_organization": name}
}

func in(code string) m {
	return m{"country": m{"iso_code": code, "names": m{"en": "Somewhere"}}, "continent": m{"code": "EU"}}
}

// Every layout that is sold or given away under the name of country, city, ASN or ISP.
func TestLayouts(t *testing.T) {
	for name, c := range map[string]struct {
		entry any
		as    uint32
		from  string
		org   string
	}{
		"country":             {in("DE"), 0, "DE", ""},
		"registered only":     {m{"registered_country": m{"iso_code": "FR"}}, 0, "FR", ""},
		"ASN":                 {as(64500, "Example Net"), 64500, "", "Example Net"},
		"enterprise":          {m{"country": m{"iso_code": "US"}, "traits": as(64501, "X")}, 64501, "US", "X"},
		"IPinfo lite":         {m{"country": "Germany", "country_code": "DE", "asn": "AS64502", "as_name": "Y"}, 64502, "DE", "Y"},
		"IPinfo country":      {m{"country": "NL", "country_name": "Netherlands", "asn": "AS64503"}, 64503, "NL", ""},
		"IPinfo ASN":          {m{"asn": "AS64504", "name": "Z", "domain": "z.example"}, 64504, "", "Z"},
		"number":              {m{"asn": uint32(64505), "country_code": "se"}, 64505, "SE", ""},
		"code only":           {m{"country_code": "JP"}, 0, "JP", ""},
		"what steers screens": {as(7, "a\x1b[31mb\n"), 7, "", "a[31mb"},
		"no country":          {m{"country_code": "D1", "asn": "AS64506"}, 64506, "", ""},
		"no number":           {m{"country_code": "DE", "asn": "AS99999999999"}, 0, "DE", ""},
	} {
		w := &geotest.Writer{RecordSize: 28}
		w.Add("192.0.2.0/24", c.entry)
		d := open(t, w)
		got := d.Lookup(addr("192.0.2.77"))
		if got.AS != c.as || got.Country.String() != c.from {
			t.Errorf("%s: %+v", name, got)
		}
		if s := (Set{d}).Organization(c.as); s != c.org {
			t.Errorf("%s: organization %q", name, s)
		}
	}
}

// Networks of every length, in each record size, are found, and nothing beside them.
func TestLookup(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{24, 28, 32} {
		w := &geotest.Writer{Type: "GeoLite2-ASN", RecordSize: size, Built: build}
		type network struct {
			prefix netip.Prefix
			as     uint32
		}
		var all []network
		for i := range uint32(300) {
			var p netip.Prefix
			if i%2 == 0 {
				p = netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(1 + r.IntN(220)), byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256))}), 24+r.IntN(9))
			} else {
				p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x2a, byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256)), byte(i >> 8), byte(i)}), 48+r.IntN(81))
			}
			all = append(all, network{p.Masked(), i + 1})
			w.Add(p.Masked().String(), as(i+1, "n"))
		}
		d := open(t, w)
		want := func(a netip.Addr) (as uint32) {
			for _, n := range all { // the last one is in force
				if n.prefix.Contains(a) {
					as = n.as
				}
			}
			return as
		}
		for _, n := range all {
			for _, a := range []netip.Addr{n.prefix.Addr(), n.prefix.Addr().Prev(), n.prefix.Addr().Next()} {
				if got := d.Lookup(flow.AddrFrom(a)); got.AS != want(a) || got.Country != (flow.Country{}) {
					t.Fatalf("records of %d bits: %s is in %+v, want AS %d", size, a, got, want(a))
				}
			}
		}
		s := d.Status()
		if s.Type != "GeoLite2-ASN" || !s.Built.Equal(build) || s.Networks < 290 || s.NetworksWithAS != s.Networks || s.NetworksWithCountry != 0 || s.Error != "" {
			t.Errorf("%+v", s)
		}
	}
	w := &geotest.Writer{IPVersion: 4}
	w.Add("192.0.2.0/24", in("DE"))
	d := open(t, w)
	if got := d.Lookup(addr("192.0.2.1")); got.Country.String() != "DE" {
		t.Errorf("IPv4 database: %+v", got)
	}
	for _, a := range []flow.Addr{addr("2001:db8::1"), addr("192.0.3.1"), {}} {
		if got := d.Lookup(a); got != (Info{}) {
			t.Errorf("IPv4 database: %s is in %+v", a, got)
		}
	}
}

// Where a database leads to IPv4 by other ways (6to4, Teredo), nothing is known; a network
// that holds all of IPv4 is that of each of its addresses.
func TestAliases(t *testing.T) {
	w := new(geotest.Writer)
	w.Add("192.0.2.0/24", in("DE"))
	w.Add("2001:db8::/32", in("FR"))
	w.Add("2a00::/16", in("NL"))
	w.Alias("2002::/16")
	d := open(t, w)
	all := new(geotest.Writer)
	all.Add("::/1", in("US"))
	whole := open(t, all)
	for _, c := range []struct {
		d        *Database
		of, want string
	}{
		{d, "192.0.2.1", "DE"}, {d, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "FR"}, {d, "2001:db9::", ""}, {d, "2002::", ""},
		{d, "2002:c000:201::1", ""}, {d, "2a00::1", "NL"}, {d, "2a01::", ""}, {d, "ffff::", ""}, {d, "::1", ""}, {d, "255.255.255.255", ""},
		{whole, "0.0.0.1", "US"}, {whole, "255.255.255.255", "US"}, {whole, "2001:db8::1", "US"}, {whole, "8000::", ""},
	} {
		if got := c.d.Lookup(addr(c.of)).Country.String(); got != c.want {
			t.Errorf("%s is in %q, want %q", c.of, got, c.want)
		}
	}
}

// What is known stays; the first database that knows something has its way; a proxy's own
// address and those of its backends are nobody's.
func TestAnnotate(t *testing.T) {
	one, two := new(geotest.Writer), new(geotest.Writer)
	one.Add("192.0.2.0/24", as(1, "one"))
	two.Add("192.0.2.0/24", m{"autonomous_system_number": uint32(2), "country": m{"iso_code": "DE"}})
	two.Add("198.51.100.0/24", m{"autonomous_system_number": uint32(3), "country": m{"iso_code": "FR"}})
	s := Set{open(t, one), open(t, two)}
	from := flow.Record{SourceAddress: addr("192.0.2.1"), DestinationAddress: addr("198.51.100.1"), Leg: flow.LegObserved}
	down, up, said := from, from, from
	down.Leg, up.Leg = flow.LegDownstream, flow.LegUpstream
	said.SourceAS, said.DestinationCountry = 64500, flow.Country{'N', 'L'}
	records := []flow.Record{from, down, up, said}
	s.Annotate(records)
	type got struct {
		source, destination uint32
		from, to            string
	}
	for i, want := range []got{{1, 3, "DE", "FR"}, {1, 0, "DE", ""}, {0, 0, "", ""}, {64500, 3, "DE", "NL"}} {
		r := &records[i]
		if g := (got{r.SourceAS, r.DestinationAS, r.SourceCountry.String(), r.DestinationCountry.String()}); g != want {
			t.Errorf("record %d: %+v, want %+v", i, g, want)
		}
	}
}

// A file that is no database is refused, wherever it goes wrong, and ends nothing.
func TestHostileFiles(t *testing.T) {
	w := &geotest.Writer{Type: "X"}
	w.Add("192.0.2.0/24", m{"autonomous_system_number": uint32(1), "country": m{"iso_code": "DE"}})
	w.Add("2001:db8::/32", in("FR"))
	good := w.Bytes()
	dir := t.TempDir()
	path := filepath.Join(dir, "x.mmdb")
	try := func(b []byte) error {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open(t.Context(), path, 0)
		if err == nil {
			for _, a := range []string{"192.0.2.1", "2001:db8::1", "::", "255.255.255.255"} {
				d.Lookup(addr(a))
			}
			d.Status()
		}
		return err
	}
	if err := try(good); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range len(good) {
		if try(good[:i]) != nil {
			refused++
		}
	}
	// Behind the metadata nothing is missed: all else is.
	if refused < len(good)-8 {
		t.Errorf("only %d of %d cut files are refused", refused, len(good))
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		b := append([]byte(nil), good...)
		for range 1 + r.IntN(4) {
			b[r.IntN(len(b))] = byte(r.IntN(256))
		}
		if _, err := newTable(context.Background(), b); err != nil && strings.Contains(err.Error(), "panicked") {
			t.Fatal(err)
		}
	}
	loop := new(geotest.Writer)
	loop.Add("192.0.2.0/24", in("DE"))
	loop.Loop("2001:db8::/32")
	if err := try(loop.Bytes()); err == nil {
		t.Error("a tree that leads back to its root is taken")
	}
	useless := &geotest.Writer{Type: "GeoIP2-Anonymous-IP"}
	useless.Add("192.0.2.0/24", m{"is_anonymous": "yes"})
	if err := try(useless.Bytes()); !errors.Is(err, ErrUseless) || !strings.Contains(err.Error(), "GeoIP2-Anonymous-IP") {
		t.Errorf("a useless type gives %v", err)
	}
	empty := new(geotest.Writer)
	if err := try(empty.Bytes()); !errors.Is(err, ErrUseless) {
		t.Errorf("a database of nothing gives %v", err)
	}
	for name, path := range map[string]string{"no such file": filepath.Join(dir, "none"), "it is no file": dir} {
		if _, err := Open(t.Context(), path, 0); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error is %v, want %q", err, name)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path, int64(len(good)-1)); err == nil || !strings.Contains(err.Error(), "max_size") {
		t.Errorf("a file that is too large gives %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newTable(gone, big(2000).Bytes()); !errors.Is(err, context.Canceled) {
		t.Errorf("reading that is given up gives %v", err)
	}
}

// A file that is replaced is read; a bad one is refused once, what was there stays, and the
// status says why. A file that is as it was is not read again.
func TestRefresh(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.mmdb")
	version := func(n uint32) []byte {
		w := &geotest.Writer{Built: build.Add(time.Duration(n) * time.Hour)}
		w.Add("192.0.2.0/24", as(n, "n"))
		return w.Bytes()
	}
	write(t, path, version(1))
	d, err := Open(t.Context(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	step := func(what string, wantChanged, wantErr bool, as uint32, failures uint64) {
		t.Helper()
		changed, err := d.Refresh(t.Context(), time.Now())
		if changed != wantChanged || (err != nil) != wantErr {
			t.Errorf("%s: changed %v, error %v", what, changed, err)
		}
		if got := d.Lookup(addr("192.0.2.1")); got.AS != as {
			t.Errorf("%s: AS %d is in force, want %d", what, got.AS, as)
		}
		if s := d.Status(); s.Failures != failures || (s.Error != "") != (d.Err() != nil) || s.FailedAt.IsZero() != (d.Err() == nil) {
			t.Errorf("%s: %+v", what, s)
		}
	}
	step("the same file", false, false, 1, 0)
	write(t, path, version(2))
	step("another one", true, false, 2, 0)
	write(t, path, version(3)[:200])
	step("a cut one", false, true, 2, 1)
	step("still the cut one", false, false, 2, 1)
	if d.Err() == nil {
		t.Error("the cut file is forgotten")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	step("none", false, true, 2, 2)
	step("still none", false, false, 2, 2)
	write(t, path, version(4))
	step("a good one", true, false, 4, 2)
	if d.Err() != nil {
		t.Error(d.Err())
	}
}

// Lookups go on while the file is replaced.
func TestRefreshWhileInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.mmdb")
	version := func(n uint32) []byte {
		w := new(geotest.Writer)
		w.Add("192.0.2.0/24", as(n, "n"))
		w.Add("198.51.100.0/24", as(n, "n"))
		return w.Bytes()
	}
	write(t, path, version(1))
	d, err := Open(t.Context(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for last := uint32(1); ; {
				select {
				case <-stop:
					return
				default:
				}
				if n := d.Lookup(addr("192.0.2.1")).AS; n < last || n > 50 {
					t.Errorf("AS %d after %d", n, last)
					return
				} else {
					last = n
				}
				d.Status()
			}
		})
	}
	for n := uint32(2); n <= 50; n++ {
		write(t, path, version(n))
		if changed, err := d.Refresh(t.Context(), time.Now()); !changed || err != nil {
			t.Errorf("version %d: %v, %v", n, changed, err)
		}
	}
	close(stop)
	wg.Wait()
}

// big returns a database of n networks of /24 with an entry each.
func big(n int) *geotest.Writer {
	w := &geotest.Writer{RecordSize: 28}
	for i := range n {
		w.Add(netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(1 + i>>16), byte(i >> 8), byte(i), 0}), 24).String(), m{
			"autonomous_system_number": uint32(1 + i), "autonomous_system_organization": "Example", "country": m{"iso_code": "DE"}})
	}
	return w
}

func TestLookupAllocatesNothing(t *testing.T) {
	s := Set{open(t, big(1000))}
	records := make([]flow.Record, 8)
	if n := testing.AllocsPerRun(100, func() {
		for i := range records {
			records[i] = flow.Record{Leg: flow.LegObserved, SourceAddress: addr("1.0.5.1"), DestinationAddress: flow.AddrFrom16(0x2a00<<48, 1)}
		}
		s.Annotate(records)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	const networks = 200_000
	d := open(b, big(networks))
	r := rand.New(rand.NewPCG(5, 6))
	var addrs [1 << 16]flow.Addr
	for i := range addrs {
		addrs[i] = flow.AddrFrom4(1<<24 + uint32(r.IntN(networks*256)))
	}
	b.ReportAllocs()
	i, found := 0, 0
	for b.Loop() {
		if d.Lookup(addrs[i&(len(addrs)-1)]).AS != 0 {
			found++
		}
		i++
	}
	if found != i {
		b.Fatalf("%d of %d were found", found, i)
	}
}

// BenchmarkLoad is what a start or a replaced file costs.
func BenchmarkLoad(b *testing.B) {
	file := big(200_000).Bytes()
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		if _, err := newTable(context.Background(), file); err != nil {
			b.Fatal(err)
		}
	}
}
