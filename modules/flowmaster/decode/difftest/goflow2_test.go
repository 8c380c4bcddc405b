package difftest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/internal/recordings"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/decode"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
	"github.com/netsampler/goflow2/v2/decoders/netflow"
	"github.com/netsampler/goflow2/v2/decoders/netflowlegacy"
)

// field is what both decoders agree a field is: numbers and octets.
type field struct {
	enterprise uint32
	id         uint16
	octets     string
}

func (f field) String() string { return fmt.Sprintf("%d/%d=%x", f.enterprise, f.id, f.octets) }

// paddingOctets is not compared: we do not show it.
const paddingOctets = 210

type record []field

var exporter = netip.MustParseAddr("192.0.2.1")

func packet(b []byte) decode.Packet {
	return decode.Packet{Exporter: exporter, Received: time.Unix(1_700_000_000, 0), Payload: b}
}

// ours decodes b with package decode.
func ours(d *decode.Decoder, b []byte) (records []record, err error) {
	_, err = d.Visit(packet(b), func(r *decode.DataRecord) {
		var rec record
		for _, f := range r.Fields {
			if r.Source == flow.SourceNetFlow5 && f.Value.Raw == nil {
				continue // of the header
			}
			rec = append(rec, field{f.Enterprise, f.ID, string(f.Value.Raw)})
		}
		records = append(records, rec)
	})
	return records, err
}

// theirs decodes b with goflow2.
func theirs(templates netflow.NetFlowTemplateSystem, b []byte) (records []record, err error) {
	switch v := binary.BigEndian.Uint16(b); v {
	case 5:
		var p netflowlegacy.PacketNetFlowV5
		err = netflowlegacy.DecodeMessageVersion(bytes.NewBuffer(b), &p)
		for _, r := range p.Records {
			records = append(records, legacyRecord(&r))
		}
		return records, err
	case 9, 10:
		var p9 netflow.NFv9Packet
		var p10 netflow.IPFIXPacket
		err = netflow.DecodeMessageVersion(bytes.NewBuffer(b), templates, &p9, &p10)
		return setRecords(append(p9.FlowSets, p10.FlowSets...)), err
	default:
		return nil, fmt.Errorf("version %d", v)
	}
}

func setRecords(sets []any) (records []record) {
	for _, s := range sets {
		switch s := s.(type) {
		case netflow.DataFlowSet:
			for _, r := range s.Records {
				records = append(records, appendFields(nil, r.Values))
			}
		case netflow.OptionsDataFlowSet:
			for _, r := range s.Records {
				records = append(records, appendFields(appendFields(nil, r.ScopesValues), r.OptionsValues))
			}
		}
	}
	return records
}

func appendFields(rec record, values []netflow.DataField) record {
	for _, v := range values {
		b, _ := v.Value.([]byte)
		f := field{id: v.Type, octets: string(b)}
		if v.PenProvided {
			// In options templates goflow2 leaves the enterprise bit in.
			f.enterprise, f.id = v.Pen, v.Type&^0x8000
		}
		if f.enterprise == 0 && f.id == paddingOctets {
			continue
		}
		rec = append(rec, f)
	}
	return rec
}

func legacyRecord(r *netflowlegacy.RecordsNetFlowV5) record {
	u := func(id uint16, n int, v uint64) field {
		b := binary.BigEndian.AppendUint64(nil, v)
		return field{id: id, octets: string(b[8-n:])}
	}
	return record{
		u(8, 4, uint64(r.SrcAddr)), u(12, 4, uint64(r.DstAddr)), u(15, 4, uint64(r.NextHop)),
		u(10, 2, uint64(r.Input)), u(14, 2, uint64(r.Output)), u(2, 4, uint64(r.DPkts)), u(1, 4, uint64(r.DOctets)),
		u(22, 4, uint64(r.First)), u(21, 4, uint64(r.Last)), u(7, 2, uint64(r.SrcPort)), u(11, 2, uint64(r.DstPort)),
		u(6, 1, uint64(r.TCPFlags)), u(4, 1, uint64(r.Proto)), u(5, 1, uint64(r.Tos)), u(16, 2, uint64(r.SrcAS)),
		u(17, 2, uint64(r.DstAS)), u(9, 1, uint64(r.SrcMask)), u(13, 1, uint64(r.DstMask)),
	}
}

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := fs.ReadFile(os.DirFS(recordings.Need(t)), name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// decodeTheirs is theirs without the comparison's own work.
func decodeTheirs(templates netflow.NetFlowTemplateSystem, b []byte) {
	if b[1] == 5 {
		var p netflowlegacy.PacketNetFlowV5
		netflowlegacy.DecodeMessageVersion(bytes.NewBuffer(b), &p)
		return
	}
	var p9 netflow.NFv9Packet
	var p10 netflow.IPFIXPacket
	netflow.DecodeMessageVersion(bytes.NewBuffer(b), templates, &p9, &p10)
}
