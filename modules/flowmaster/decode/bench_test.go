package decode

import (
	"encoding/binary"
	"testing"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// BenchmarkCollect is what a collector does with a datagram once it has it:
// decode its 26 records, and add them to the table, windows and top lists.
// There are 52 to 100,000 flows, each with its own client.
func BenchmarkCollect(b *testing.B) {
	for name, datagrams := range map[string]int{"52flows": 2, "10kflows": 400, "100kflows": 3846} {
		b.Run(name, func(b *testing.B) {
			var all [][]byte
			e := NewEncoder(EncoderOptions{MaxOctets: 65535, TemplateInterval: -1})
			templates, _ := e.AppendMessage(nil, nil, testTime)
			for i := range datagrams {
				records := make([]flow.Record, 26)
				for j := range records {
					records[j] = flow.Record{
						SourceAddress: flow.AddrFrom4(uint32(0x0a000000 + (i*26+j)*7919%(1<<24))), DestinationAddress: flow.AddrFrom4(0xc0000201),
						SourceTransportPort: uint16(i), DestinationTransportPort: 443, ProtocolIdentifier: 6,
						OctetDeltaCount: 1500, PacketDeltaCount: 3, FlowStartMilliseconds: testTime.UnixMilli(), FlowEndMilliseconds: testTime.UnixMilli(),
					}
				}
				message, n := e.AppendMessage(nil, records, testTime)
				if n != len(records) {
					b.Fatal(n)
				}
				all = append(all, message)
			}
			d := NewDecoder(NewStore(Limits{}))
			d.Decode(nil, packet(templates))
			m := flow.NewMonitor(flow.Options{Shards: 1})
			var out []flow.Record
			i, seq := 0, uint32(0)
			b.ReportAllocs()
			for b.Loop() {
				binary.BigEndian.PutUint32(all[i][8:], seq)
				var err error
				if out, _, err = d.Decode(out[:0], packet(all[i])); err != nil || len(out) != 26 {
					b.Fatal(len(out), err)
				}
				m.Shard(0).Add(out)
				seq += 26
				if i++; i == len(all) {
					i = 0
				}
			}
			b.ReportMetric(float64(b.N)*26/b.Elapsed().Seconds(), "records/s")
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	records := randomRecords(12)
	e := NewEncoder(EncoderOptions{MaxOctets: 9000})
	var message []byte
	b.ReportAllocs()
	for b.Loop() {
		message, _ = e.AppendMessage(message[:0], records, testTime)
	}
	b.ReportMetric(float64(b.N)*12/b.Elapsed().Seconds(), "records/s")
}
