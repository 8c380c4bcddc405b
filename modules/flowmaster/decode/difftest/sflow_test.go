package difftest

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/decode"
	"github.com/netsampler/goflow2/v2/decoders/sflow"
)

func xdr(values ...uint32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func xdrSized(format uint32, body []byte) []byte {
	b := append(xdr(format, uint32(len(body))), body...)
	return append(b, make([]byte, -len(body)&3)...)
}

// tcpFrame is the beginning of an Ethernet frame with IPv4 and TCP in it.
func tcpFrame(i int) []byte {
	b := append(make([]byte, 12), 8, 0,
		0x45, 0, 5, 0xdc, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, byte(i>>8), byte(i), 192, 0, 2, 1,
		0xc3, byte(i), 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0)
	return append(b, make([]byte, 74)...)
}

func sflowDatagram(samples int) []byte {
	b := xdr(5, 1, 0xc0000201, 0, 1, 1000, uint32(samples))
	for i := range samples {
		frame := tcpFrame(i)
		raw := xdrSized(1, append(xdr(1, 1518, 4, uint32(len(frame))), frame...))
		b = append(b, xdrSized(1, append(xdr(uint32(i), 3, 1024, 1<<20, 0, 3, uint32(4+i), 1), raw...))...)
	}
	return b
}

// TestSFlow compares what both make of flow samples.
func TestSFlow(t *testing.T) {
	b := sflowDatagram(7)
	we, err := ours(decode.NewDecoder(decode.NewStore(decode.Limits{})), b)
	if err != nil || len(we) != 7 {
		t.Fatalf("ours: %d records, %v", len(we), err)
	}
	var p sflow.Packet
	if err := sflow.DecodeMessageVersion(bytes.NewBuffer(b), &p); err != nil || len(p.Samples) != 7 {
		t.Fatalf("theirs: %d samples, %v", len(p.Samples), err)
	}
	visited := 0
	_, err = decode.NewDecoder(decode.NewStore(decode.Limits{})).Visit(packet(b), func(r *decode.DataRecord) {
		s := p.Samples[visited].(sflow.FlowSample)
		header := s.Records[0].Data.(sflow.SampledHeader)
		visited++
		for _, f := range r.Fields {
			n, _ := f.Value.Uint()
			want := n
			switch f.Name {
			case "samplingInterval":
				want = uint64(s.SamplingRate)
			case "ingressInterface":
				want = uint64(s.Input)
			case "egressInterface":
				want = uint64(s.Output)
			case "dataLinkFrameSize":
				want = uint64(header.FrameLength)
			case "dataLinkFrameSection":
				if !bytes.Equal(f.Value.Raw, header.HeaderData) {
					t.Errorf("header %x, theirs %x", f.Value.Raw, header.HeaderData)
				}
			}
			if n != want {
				t.Errorf("%s is %d, theirs %d", f.Name, n, want)
			}
		}
	})
	if err != nil || visited != 7 {
		t.Errorf("%d visited, %v", visited, err)
	}
}
