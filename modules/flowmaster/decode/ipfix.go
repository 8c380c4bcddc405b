package decode

import (
	"encoding/binary"
	"fmt"
)

const ipfixHeader = 16

// ipfix decodes an IPFIX message (RFC 7011).
func (m *message) ipfix(b []byte) error {
	if len(b) < ipfixHeader {
		return fmt.Errorf("header: %d octets: %w", len(b), ErrTruncated)
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	if length < ipfixHeader || length > len(b) {
		return fmt.Errorf("message of %d octets announced in %d: %w", length, len(b), ErrLength)
	}
	m.result.TrailingOctets = len(b) - length
	m.exported(int64(binary.BigEndian.Uint32(b[4:])) * 1000)
	seq := binary.BigEndian.Uint32(b[8:])
	if err := m.enter(10, binary.BigEndian.Uint32(b[12:]), seq); err != nil {
		return err
	}
	err := m.sets(b[ipfixHeader:length])
	if !allZero(b[length:]) {
		m.fail(fmt.Errorf("message of %d octets announced in %d: %w", length, len(b), ErrLength))
	}
	r := &m.result
	r.Lost = m.domain.sequence.observe(seq, uint32(r.Records+r.OptionRecords), err == nil && r.UnknownSets == 0, &m.exporter.counters)
	return err
}
