package difftest

import (
	"bytes"
	"testing"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/decode"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
	"github.com/netsampler/goflow2/v2/decoders/netflow"
	"github.com/netsampler/goflow2/v2/decoders/sflow"
)

// workload is a datagram of which the templates were sent before.
type workload struct {
	name      string
	templates [][]byte
	datagram  []byte
	records   int
}

// ipfix26 is a datagram of 26 records of 54 octets, the usual size for an
// Ethernet of 1,500 octets: 18 fields, as software exporters send them.
func ipfix26() workload {
	template := words(300, 18, 8, 4, 12, 4, 7, 2, 11, 2, 4, 1, 5, 1, 6, 2, 10, 4, 14, 4, 1, 4, 2, 4, 152, 8, 153, 8,
		9, 1, 13, 1, 136, 1, 60, 1, 58, 2)
	var data []byte
	for i := range 26 {
		data = append(data, 10, 0, 0, byte(i), 192, 0, 2, 1)
		data = append(data, words(50000+i, 443)...)
		data = append(data, 6, 0)
		data = append(data, words(0x1b, 0, 1, 0, 2, 1, 0x2345, 0, 17)...)
		data = append(data, words(0x18f, 0x4d5e, 0x6f70, i, 0x18f, 0x4d5e, 0x7f70, i)...)
		data = append(data, 24, 24, 3, 4, 0, 7)
	}
	return workload{"ipfix26", [][]byte{message(10, set(2, template))}, message(10, set(300, data)), 26}
}

func workloads(b *testing.B) []workload {
	return []workload{
		ipfix26(),
		{"v5/MikroTik", nil, fixture(b, "netflow5_test_microtik.dat"), 30},
		{"v9/ASA", [][]byte{fixture(b, "netflow9_test_cisco_asa_2_tpl_26x.dat"), fixture(b, "netflow9_test_cisco_asa_2_tpl_27x.dat")},
			fixture(b, "netflow9_test_cisco_asa_2_data.dat"), 19},
		{"v9/ACI", [][]byte{fixture(b, "netflow9_test_cisco_aci_tpl256-258.dat")}, fixture(b, "netflow9_test_cisco_aci_data256.dat"), 3},
		{"ipfix/NetScaler", [][]byte{fixture(b, "ipfix_test_netscaler_tpl.dat")}, fixture(b, "ipfix_test_netscaler_data.dat"), 3},
	}
}

// BenchmarkDecode measures both decoders on the same datagrams. Ours makes
// flow records, goflow2's only takes the datagram apart.
func BenchmarkDecode(b *testing.B) {
	for _, w := range workloads(b) {
		b.Run(w.name+"/ours", func(b *testing.B) {
			d := decode.NewDecoder(decode.NewStore(decode.Limits{}))
			for _, tpl := range w.templates {
				d.Decode(nil, packet(tpl))
			}
			var out []flow.Record
			p := packet(w.datagram)
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if out, _, err = d.Decode(out[:0], p); err != nil || len(out) != w.records {
					b.Fatal(len(out), err)
				}
			}
			report(b, w.records)
		})
		b.Run(w.name+"/goflow2", func(b *testing.B) {
			templates := netflow.CreateTemplateSystem()
			for _, tpl := range w.templates {
				theirs(templates, tpl)
			}
			b.ReportAllocs()
			for b.Loop() {
				decodeTheirs(templates, w.datagram)
			}
			report(b, w.records)
		})
	}
	datagram := sflowDatagram(7)
	b.Run("sflow/ours", func(b *testing.B) {
		d := decode.NewDecoder(decode.NewStore(decode.Limits{}))
		var out []flow.Record
		b.ReportAllocs()
		for b.Loop() {
			out, _, _ = d.Decode(out[:0], packet(datagram))
		}
		report(b, 7)
	})
	b.Run("sflow/goflow2", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var p sflow.Packet
			sflow.DecodeMessageVersion(bytes.NewBuffer(datagram), &p)
		}
		report(b, 7)
	})
}

func report(b *testing.B, records int) {
	b.ReportMetric(float64(b.N)*float64(records)/b.Elapsed().Seconds(), "records/s")
}
