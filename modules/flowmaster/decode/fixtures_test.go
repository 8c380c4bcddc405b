package decode

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/internal/recordings"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(recordings.Need(t), name))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no recording %s", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var testExporter = netip.MustParseAddr("192.0.2.1")

var testTime = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

func packet(b []byte) Packet {
	return Packet{Exporter: testExporter, Received: testTime, Payload: b}
}

type fixtureCase struct {
	Name    string
	Files   []string
	Records int
}

func fixtureCases(t testing.TB) []fixtureCase {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(recordings.Need(t), "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []fixtureCase
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) == 0 {
		t.Fatal("expected.json lists no cases")
	}
	return cases
}

// TestFixtures: every recording decodes to exactly the stated number of
// records, both ways out, without an error.
func TestFixtures(t *testing.T) {
	for _, c := range fixtureCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			visitor, collector := NewDecoder(NewStore(Limits{})), NewDecoder(NewStore(Limits{}))
			visited, counted, flows := 0, 0, 0
			for _, file := range c.Files {
				b := fixture(t, file)
				_, err := visitor.Visit(packet(b), func(r *DataRecord) {
					visited++
					if line := r.AppendJSON(nil); !json.Valid(line) {
						t.Errorf("%s: not JSON: %s", file, line)
					}
				})
				if err != nil {
					t.Errorf("Visit %s: %v", file, err)
				}
				out, res, err := collector.Decode(nil, packet(b))
				if err != nil {
					t.Errorf("Decode %s: %v", file, err)
				}
				counted += res.Records + res.OptionRecords
				flows += res.Records
				if len(out) > res.Records {
					t.Errorf("%s: %d flow records out of %d", file, len(out), res.Records)
				}
				for i := range out {
					checkPlausible(t, &out[i])
				}
			}
			if visited != c.Records || counted != c.Records {
				t.Errorf("visited %d, decoded %d (%d flows), want %d", visited, counted, flows, c.Records)
			}
		})
	}
}

func checkPlausible(t *testing.T, r *flow.Record) {
	t.Helper()
	if r.ReceivedMilliseconds != testTime.UnixMilli() || r.Leg != flow.LegObserved || r.Exactness == flow.ExactnessUnknown {
		t.Errorf("received %d, leg %v, exactness %v", r.ReceivedMilliseconds, r.Leg, r.Exactness)
	}
	if r.FlowEndMilliseconds < r.FlowStartMilliseconds {
		t.Errorf("flow ends at %d before it starts at %d", r.FlowEndMilliseconds, r.FlowStartMilliseconds)
	}
}
