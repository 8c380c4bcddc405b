package flowmaster

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/caddy-lbpro/caddy-lbpro/internal/recordings"
)

// run runs `caddy flowmaster` with the arguments.
func run(t testing.TB, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	root := &cobra.Command{Use: "flowmaster", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(subcommands()...)
	var out, errs bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	return out.String(), errs.String(), err
}

// records parses the lines of decode's output.
func records(t *testing.T, out string) (list []map[string]any) {
	t.Helper()
	for line := range strings.Lines(out) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		list = append(list, r)
	}
	return list
}

// Every recording gives exactly the stated number of lines.
func TestDecodeFixtures(t *testing.T) {
	dir := recordings.Need(t)
	text, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name    string
		Files   []string
		Records int
	}
	if err := json.Unmarshal(text, &cases); err != nil || len(cases) == 0 {
		t.Fatalf("%d cases: %v", len(cases), err)
	}
	options := 0
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			args := []string{"decode"}
			for _, f := range c.Files {
				args = append(args, filepath.Join(dir, f))
			}
			// These hold data before, or without, their template: told, besides all the records.
			early := slices.Contains(c.Files, "ipfix_test_netscaler_data.dat") || c.Files[0] == "netflow9_test_iptnetflow_reduced_size_encoding_tpldata260.dat"
			out, errs, err := run(t, args...)
			list := records(t, out)
			if len(list) != c.Records {
				t.Errorf("%d records, want %d: %s", len(list), c.Records, errs)
			}
			if early != (err != nil) || early != strings.Contains(errs, "template has not come yet") {
				t.Errorf("error %v, and told: %s", err, errs)
			}
			for _, r := range list {
				if r["options"] == true {
					options++
				}
			}
		})
	}
	if options < 30 {
		t.Errorf("only %d of the records are marked as option data", options)
	}
}

func TestDecodeRefusesWhatIsInvalid(t *testing.T) {
	out, errs, err := run(t, "decode", filepath.Join(recordings.Need(t), "netflow5_test_invalid01.dat"))
	if n := len(records(t, out)); err == nil || errs == "" || n > 30 {
		t.Errorf("%d records, error %v, told: %s", n, err, errs)
	}
	out, errs, err = run(t, "decode", filepath.Join(t.TempDir(), "nowhere"))
	if err == nil || !strings.Contains(errs, "nowhere") || out != "" {
		t.Errorf("a file that is not there: %v, %s%s", err, errs, out)
	}
	if _, _, err = run(t, "decode"); err == nil {
		t.Error("no file is no error")
	}
	if _, _, err = run(t, "decode", "--mask=33,0", "x"); err == nil {
		t.Error("a mask of 33 bits is no error")
	}
}

// netFlow5 is a datagram with one flow of 192.0.2.77.
func netFlow5() []byte {
	b := make([]byte, 24+48)
	binary.BigEndian.PutUint16(b, 5)
	binary.BigEndian.PutUint16(b[2:], 1)
	copy(b[24:], []byte{192, 0, 2, 77, 198, 51, 100, 9})
	return b
}

// capture is a pcap file of raw IP packets with these UDP payloads, to the ports.
func capture(ports []uint16, payloads ...[]byte) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b2c3d4)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b = le.AppendUint32(le.AppendUint32(b, 262144), 101)
	for i, p := range payloads {
		n := 28 + len(p)
		b = le.AppendUint32(le.AppendUint32(b, 1_700_000_000), 0)
		b = le.AppendUint32(le.AppendUint32(b, uint32(n)), uint32(n))
		b = append(b, 0x45, 0, byte(n>>8), byte(n), 0, 0, 0, 0, 64, 17, 0, 0, 203, 0, 113, 5, 127, 0, 0, 1)
		b = append(b, 0x10, 0, byte(ports[i]>>8), byte(ports[i]), byte((8+len(p))>>8), byte(8+len(p)), 0, 0)
		b = append(b, p...)
	}
	return b
}

func TestDecodeCaptures(t *testing.T) {
	file := filepath.Join(t.TempDir(), "flows.pcap")
	if err := os.WriteFile(file, capture([]uint16{2055, 53}, netFlow5(), []byte("\x1b]0;not a flow")), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, err := run(t, "decode", file)
	list := records(t, out)
	if len(list) != 1 || list[0]["sourceIPv4Address"] != "192.0.2.77" || list[0]["exporter"] != "203.0.113.5" {
		t.Errorf("got %s", out)
	}
	if err == nil || !strings.Contains(errs, "datagram 2 from 203.0.113.5") || strings.Contains(errs, "\x1b") {
		t.Errorf("error %v, told: %q", err, errs)
	}
	if out, errs, err = run(t, "decode", "--port", "2055", "--mask", file); err != nil || errs != "" {
		t.Errorf("with the other port left out: %v: %s", err, errs)
	}
	if list = records(t, out); len(list) != 1 || list[0]["sourceIPv4Address"] != "192.0.2.0" {
		t.Errorf("masked: %s", out)
	}
	if out, _, _ = run(t, "decode", "--port", "2055", "--mask=8,8", file); records(t, out)[0]["sourceIPv4Address"] != "192.0.0.0" {
		t.Errorf("masked to 8 bits: %s", out)
	}
	// Cut off in the middle: what came before is there.
	if err := os.WriteFile(file, capture([]uint16{2055, 2055}, netFlow5(), netFlow5())[:180], 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs, err = run(t, "decode", file); err == nil || len(records(t, out)) != 1 || !strings.Contains(errs, "ends early") {
		t.Errorf("cut off: %v: %s%s", err, out, errs)
	}
}

// netFlow9 is a datagram of one source ID with one set.
func netFlow9(set int, body ...byte) []byte {
	b := make([]byte, 24)
	binary.BigEndian.PutUint16(b, 9)
	binary.BigEndian.PutUint16(b[2:], 1)
	binary.BigEndian.PutUint16(b[20:], uint16(set))
	binary.BigEndian.PutUint16(b[22:], uint16(4+len(body)))
	return append(b, body...)
}

// Exporters in one capture that use the same template ID for different things keep apart;
// data that none but another has the template for uses that one.
func TestDecodeSeveralExporters(t *testing.T) {
	source := netFlow9(0, 1, 0, 0, 1, 0, 8, 0, 4)       // template 256: sourceIPv4Address
	destination := netFlow9(0, 1, 0, 0, 1, 0, 12, 0, 4) // template 256: destinationIPv4Address
	data := netFlow9(256, 192, 0, 2, 9)
	b := capture(make([]uint16, 5), source, destination, data, data, data)
	packet := 16 + 28
	at := 24
	for i, p := range [][]byte{source, destination, data, data, data} {
		b[at+16+15] = []byte{1, 2, 1, 2, 3}[i] // the last octet of the source address
		at += packet + len(p)
	}
	dir := t.TempDir()
	file, raw := filepath.Join(dir, "two.pcap"), filepath.Join(dir, "raw")
	if os.WriteFile(file, b, 0o600) != nil || os.WriteFile(raw, data, 0o600) != nil {
		t.Fatal("could not write")
	}
	out, errs, err := run(t, "decode", file, raw)
	list := records(t, out)
	if err != nil || len(list) != 4 {
		t.Fatalf("%v: %s%s", err, out, errs)
	}
	for i, want := range []string{"sourceIPv4Address", "destinationIPv4Address", "destinationIPv4Address", "destinationIPv4Address"} {
		if list[i][want] != "192.0.2.9" {
			t.Errorf("record %d: %v, want %s", i, list[i], want)
		}
	}
	if list[2]["exporter"] != "203.0.113.3" {
		t.Errorf("record 2 is of %v", list[2]["exporter"])
	}
	if out, _, _ = run(t, "decode", "--mask", file); records(t, out)[0]["exporter"] != "203.0.113.0" {
		t.Errorf("the exporter is not masked: %s", out)
	}
	if _, errs, err = run(t, "decode", raw); err == nil || !strings.Contains(errs, "template") {
		t.Errorf("no template: %v: %s", err, errs)
	}
}

// ipfix is a message with one set.
func ipfix(set int, body ...byte) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, 10)
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(body)))
	binary.BigEndian.PutUint16(b[16:], uint16(set))
	binary.BigEndian.PutUint16(b[18:], uint16(4+len(body)))
	return append(b, body...)
}

// In a capture too, a template that was withdrawn, or replaced by one that cannot be used, is
// gone: what comes after is not read by it.
func TestDecodeForgottenTemplates(t *testing.T) {
	template, data := ipfix(2, 1, 0, 0, 1, 0, 8, 0, 4), ipfix(256, 192, 0, 2, 9)
	for name, forget := range map[string][]byte{
		"withdrawn":          ipfix(2, 1, 0, 0, 0),
		"all withdrawn":      ipfix(2, 0, 2, 0, 0),
		"replaced by no use": ipfix(2, 1, 0, 0, 1, 0, 8, 0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "flows.pcap")
			if err := os.WriteFile(file, capture(make([]uint16, 4), template, data, forget, data), 0o600); err != nil {
				t.Fatal(err)
			}
			out, errs, err := run(t, "decode", file)
			if list := records(t, out); len(list) != 1 || err == nil || !strings.Contains(errs, "template has not come yet") {
				t.Errorf("%v: %s%s", err, out, errs)
			}
		})
	}
}

// A capture of a link layer that cannot be read is not one without datagrams.
func TestDecodeTellsOfUnknownLinkLayers(t *testing.T) {
	b := capture([]uint16{2055}, netFlow5())
	b[20] = 147
	file := filepath.Join(t.TempDir(), "link.pcap")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs, err := run(t, "decode", file); err == nil || out != "" || !strings.Contains(errs, "link layer") {
		t.Errorf("%v: %s%s", err, out, errs)
	}
}

// Faults without end are counted and not all told.
func TestDecodeTellsABoundedNumberOfFaults(t *testing.T) {
	n := 3 * errorsShown
	file := filepath.Join(t.TempDir(), "noise.pcap")
	payloads := make([][]byte, n)
	for i := range payloads {
		payloads[i] = []byte("noise")
	}
	if err := os.WriteFile(file, capture(make([]uint16, n), payloads...), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs, err := run(t, "decode", file)
	if lines := strings.Count(errs, "\n"); err == nil || !strings.Contains(err.Error(), "faults: 300") || lines != errorsShown+1 {
		t.Errorf("%d lines were told; %v", lines, err)
	}
}
