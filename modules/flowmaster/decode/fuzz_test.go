package decode

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	"github.com/caddy-lbpro/caddy-lbpro/internal/recordings"
)

// addRecordings seeds a fuzz test with the recordings of one kind, where they
// are there; the committed corpus holds others.
func addRecordings(f *testing.F, pattern string) {
	f.Helper()
	dir := recordings.Dir()
	if dir == "" {
		return
	}
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		f.Add(fixture(f, filepath.Base(file)))
	}
}

// fuzz decodes b twice, so that templates in it are known the second time,
// both ways out.
func fuzz(t *testing.T, b []byte) {
	collector, visitor := NewDecoder(NewStore(Limits{})), NewDecoder(NewStore(Limits{}))
	for range 2 {
		out, res, err := collector.Decode(nil, packet(b))
		if errors.Is(err, ErrInternal) {
			t.Fatal(err)
		}
		if len(out) > res.Records || res.Records+res.OptionRecords > maxRecords || res.Records > len(b) {
			t.Fatalf("%d out of %d octets: %+v", len(out), len(b), res)
		}
		visited := 0
		res2, _ := visitor.Visit(packet(b), func(r *DataRecord) {
			visited++
			if visited <= 20 && !json.Valid(r.AppendJSON(nil)) {
				t.Fatalf("not JSON: %s", r.AppendJSON(nil))
			}
			r.Mask(24, 48)
		})
		if res != res2 || visited != res.Records+res.OptionRecords+res.CounterSamples+res.DiscardedPackets {
			t.Fatalf("Decode %+v, Visit %+v, visited %d", res, res2, visited)
		}
	}
}

func FuzzNetFlow5(f *testing.F) {
	addRecordings(f, "netflow5*.dat")
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 4 && b[0] == 0 && b[1] == 5 && b[2] == 0 {
			b[3] &= 31 // most counts are out of range
		}
		fuzz(t, b)
	})
}

func FuzzNetFlow9(f *testing.F) {
	addRecordings(f, "netflow9*.dat")
	f.Add(netflow9Message(0, 2, set(0, template4()), set(256, data4())))
	f.Fuzz(func(t *testing.T, b []byte) { fuzz(t, b) })
}

func FuzzIPFIX(f *testing.F) {
	addRecordings(f, "ipfix*.dat")
	f.Add(ipfixMessage(0, set(2, template4()), set(256, data4())))
	f.Fuzz(func(t *testing.T, b []byte) { fuzz(t, b) })
}

func FuzzSFlow(f *testing.F) {
	f.Add(sflowDatagram(sflowTCP4(f)))
	f.Add(sflowDatagram(sized(sflowDiscardedPacket, join(xdr(1, 0, 2, 17, 4, 5, 256, 1), sflowTCP4(f)[40:]))))
	f.Fuzz(func(t *testing.T, b []byte) { fuzz(t, b) })
}
