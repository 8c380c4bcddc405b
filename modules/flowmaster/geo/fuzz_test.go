package geo

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/geo/geotest"
)

// Whatever is in a file, it is refused or it answers: reading it neither panics nor goes on
// for ever, and what it tells of an address is a country's letters or nothing.
func FuzzDatabase(f *testing.F) {
	w := &geotest.Writer{Type: "X"}
	w.Add("192.0.2.0/24", m{"autonomous_system_number": uint32(1), "country": m{"iso_code": "DE"}})
	w.Add("2001:db8::/32", m{"asn": "AS64500", "as_name": "Example", "country_code": "FR"})
	f.Add(w.Bytes())
	loop := new(geotest.Writer)
	loop.Add("192.0.2.0/24", in("DE"))
	loop.Loop("2001:db8::/32")
	f.Add(loop.Bytes())
	f.Add(new(geotest.Writer).Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		table, err := newTable(ctx, b)
		if err != nil {
			if strings.Contains(err.Error(), "panicked") || ctx.Err() != nil {
				t.Fatal(err)
			}
			return
		}
		for _, a := range []string{"192.0.2.1", "192.0.3.1", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::", "ffff::"} {
			c := table.lookup(addr(a)).Country
			for _, letter := range c {
				if c != [2]byte{} && (letter < 'A' || letter > 'Z') {
					t.Fatalf("%s is in country %q", a, c[:])
				}
			}
		}
	})
}
