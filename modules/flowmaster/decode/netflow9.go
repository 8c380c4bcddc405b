package decode

import (
	"encoding/binary"
	"fmt"
)

const netflow9Header = 20

// netflow9 decodes a NetFlow v9 datagram (RFC 3954). The count in its header
// is not relied on: exporters disagree about what it counts.
func (m *message) netflow9(b []byte) error {
	if len(b) < netflow9Header {
		return fmt.Errorf("header: %d octets: %w", len(b), ErrTruncated)
	}
	m.headerCount = int(binary.BigEndian.Uint16(b[2:]))
	m.uptime = binary.BigEndian.Uint32(b[4:])
	m.exported(int64(binary.BigEndian.Uint32(b[8:])) * 1000)
	seq := binary.BigEndian.Uint32(b[12:])
	if err := m.enter(9, binary.BigEndian.Uint32(b[16:]), seq); err != nil {
		return err
	}
	m.result.Lost = m.domain.sequence.observe(seq, 1, true, &m.exporter.counters)
	if len(b) == netflow9Header && m.headerCount > 0 {
		return fmt.Errorf("%d records announced in a header with nothing behind it: %w", m.headerCount, ErrTruncated)
	}
	err := m.sets(b[netflow9Header:])
	r := &m.result
	if err == nil && r.UnknownSets == 0 && m.headerCount != r.Records+r.OptionRecords+r.Templates {
		m.exporter.counters.CountMismatches++
	}
	return err
}
