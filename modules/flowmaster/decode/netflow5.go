package decode

import (
	"encoding/binary"
	"fmt"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

const (
	netflow5Header    = 24
	netflow5Record    = 48
	netflow5MaxRecord = 30
)

// netflow5Layout describes the fixed record for Visit, in the terms of a
// template. ID 210 is padding.
var netflow5Layout = &template{
	netflow9: true, fixed: true, minLength: netflow5Record,
	fields: []templateField{
		{id: 8, length: 4}, {id: 12, length: 4}, {id: 15, length: 4}, {id: 10, length: 2}, {id: 14, length: 2},
		{id: 2, length: 4}, {id: 1, length: 4}, {id: 22, length: 4}, {id: 21, length: 4}, {id: 7, length: 2},
		{id: 11, length: 2}, {id: 210, length: 1}, {id: 6, length: 1}, {id: 4, length: 1}, {id: 5, length: 1},
		{id: 16, length: 2}, {id: 17, length: 2}, {id: 9, length: 1}, {id: 13, length: 1}, {id: 210, length: 2},
	},
}

// netflow5 decodes a NetFlow v5 datagram. Nothing in it protects it against
// being read with the wrong count, so the count must agree with the length:
// behind the records there may be less than a record of padding, or another
// message, as recordings of a stream have it (that one is not read).
func (m *message) netflow5(b []byte) error {
	if len(b) < netflow5Header {
		return fmt.Errorf("header: %d octets: %w", len(b), ErrTruncated)
	}
	count := int(binary.BigEndian.Uint16(b[2:]))
	end := netflow5Header + count*netflow5Record
	if count == 0 || count > netflow5MaxRecord || end > len(b) {
		return fmt.Errorf("%d records announced in %d octets: %w", count, len(b), ErrLength)
	}
	trailing := b[end:]
	if len(trailing) >= netflow5Record && binary.BigEndian.Uint16(trailing) != 5 {
		return fmt.Errorf("%d records announced, %d octets behind them: %w", count, len(trailing), ErrLength)
	}
	m.result.TrailingOctets = len(trailing)

	m.uptime = binary.BigEndian.Uint32(b[4:])
	seconds, nanoseconds := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	m.exported(int64(seconds)*1000 + int64(nanoseconds)/1e6)
	seq := binary.BigEndian.Uint32(b[16:])
	// Engine type and engine ID together are what v9 calls the source ID.
	if err := m.enter(5, uint32(binary.BigEndian.Uint16(b[20:])), seq); err != nil {
		return err
	}
	m.result.Lost = m.domain.sequence.observe(seq, uint32(count), true, &m.exporter.counters)

	m.setBase()
	// The upper two bits say how packets are picked, the rest one in how many.
	if n := uint32(binary.BigEndian.Uint16(b[22:]) & 0x3fff); n != 0 && m.override == 0 {
		setSampling(&m.base, n)
	}
	m.header5 = [netflow5Header]byte(b)
	b = b[netflow5Header:end]
	m.result.Records = count
	if m.visit != nil {
		for ; len(b) > 0; b = b[netflow5Record:] {
			m.visitRecord(netflow5Layout, b[:netflow5Record], FlowRecord)
		}
		return nil
	}
	out := m.more(count)
	for i := range out {
		out[i] = m.base
		m.netflow5Record(&out[i], (*[netflow5Record]byte)(b[i*netflow5Record:]))
	}
	return nil
}

// visitHeader5 shows what a v5 header says about all records: the engine, of
// which the domain is made, and the sampling.
func (m *message) visitHeader5() {
	h := &m.header5
	m.addNumber(38, uint64(h[20])) // engineType
	m.addNumber(39, uint64(h[21])) // engineId
	m.addNumber(34, uint64(binary.BigEndian.Uint16(h[22:])&0x3fff))
	m.addNumber(35, uint64(h[22]>>6)) // samplingAlgorithm
}

func (m *message) netflow5Record(r *flow.Record, b *[netflow5Record]byte) {
	r.SourceAddress = flow.AddrFrom4(binary.BigEndian.Uint32(b[0:]))
	r.DestinationAddress = flow.AddrFrom4(binary.BigEndian.Uint32(b[4:]))
	r.IngressInterface = uint32(binary.BigEndian.Uint16(b[12:]))
	r.EgressInterface = uint32(binary.BigEndian.Uint16(b[14:]))
	r.PacketDeltaCount = uint64(binary.BigEndian.Uint32(b[16:]))
	r.OctetDeltaCount = uint64(binary.BigEndian.Uint32(b[20:]))
	r.FlowStartMilliseconds = m.fromUptime(binary.BigEndian.Uint32(b[24:]))
	r.FlowEndMilliseconds = m.fromUptime(binary.BigEndian.Uint32(b[28:]))
	r.SourceTransportPort = binary.BigEndian.Uint16(b[32:])
	r.DestinationTransportPort = binary.BigEndian.Uint16(b[34:])
	r.TCPControlBits = uint16(b[37])
	r.ProtocolIdentifier = b[38]
	r.IPClassOfService = b[39]
	r.SourceAS = uint32(binary.BigEndian.Uint16(b[40:]))
	r.DestinationAS = uint32(binary.BigEndian.Uint16(b[42:]))
	r.SourcePrefixLength = b[44]
	r.DestinationPrefixLength = b[45]
	if p := r.ProtocolIdentifier; p == protocolICMP || p == protocolICMP6 {
		r.ICMPTypeCode = r.DestinationTransportPort // where v5 puts type and code
	}
}
