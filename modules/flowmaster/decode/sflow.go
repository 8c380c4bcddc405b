package decode

import (
	"encoding/binary"
	"fmt"
)

// reader reads the 32-bit words that sFlow is made of (XDR, RFC 4506). Once a
// read goes past the end it gives zeros, and err says so.
type reader struct {
	b   []byte
	err error
}

// short is the rare way out of every read, apart so that the others are
// short enough to be inlined.
func (r *reader) short(n int) {
	if r.err == nil {
		r.err = fmt.Errorf("%d octets with %d left: %w", n, len(r.b), ErrTruncated)
	}
	r.b = nil
}

func (r *reader) bytes(n int) []byte {
	if uint(n) > uint(len(r.b)) {
		r.short(n)
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) uint32() uint32 {
	if len(r.b) < 4 {
		r.short(4)
		return 0
	}
	v := binary.BigEndian.Uint32(r.b)
	r.b = r.b[4:]
	return v
}

// sized reads a length and then that many octets, with the padding that
// brings them to full words.
func (r *reader) sized() []byte {
	n := int(r.uint32())
	v := r.bytes(n)
	if pad := -n & 3; pad > 0 && pad <= len(r.b) {
		r.b = r.b[pad:]
	}
	return v
}

// sFlow formats: an enterprise in the upper 20 bits, 0 for sflow.org's own,
// and a number in the lower 12.
const (
	sflowFlowSample            = 1
	sflowCounterSample         = 2
	sflowExpandedFlowSample    = 3
	sflowExpandedCounterSample = 4
	sflowDiscardedPacket       = 5
)

// sflow decodes an sFlow v5 datagram (sflow.org, "sFlow Version 5", 2004).
// Each flow sample is one packet and makes one record.
func (m *message) sflow(b []byte) error {
	r := reader{b: b}
	r.uint32() // version
	// The agent's own idea of its address is only shown: anyone may put
	// anything there.
	m.agent = nil
	switch family := r.uint32(); family {
	case 0: // not known
	case 1:
		m.agent = r.bytes(4)
	case 2:
		m.agent = r.bytes(16)
	default:
		return fmt.Errorf("agent address of family %d: %w", family, ErrLength)
	}
	subAgent, seq := r.uint32(), r.uint32()
	m.uptime = r.uint32()
	samples := int(r.uint32())
	if r.err != nil {
		return fmt.Errorf("header: %w", r.err)
	}
	m.exportMilliseconds = m.received
	if err := m.enter(5<<8, subAgent, seq); err != nil {
		return err
	}
	m.result.Lost = m.domain.sequence.observe(seq, 1, true, &m.exporter.counters)
	m.setBase()
	for i := range samples { // of which each takes 8 octets, or is the last
		if format, body, rest, ok := sflowPart(r.b); ok && m.visit == nil {
			done, err := m.sflowPlain(format, body)
			if err != nil {
				m.fail(fmt.Errorf("sample %d of %d: %w", i+1, samples, err))
			}
			if done {
				r.b = rest
				continue
			}
		}
		format := r.uint32()
		body := r.sized()
		if r.err != nil {
			return fmt.Errorf("sample %d of %d: %w", i+1, samples, r.err)
		}
		if err := m.sflowSample(format, body); err != nil {
			m.fail(fmt.Errorf("sample %d of %d: %w", i+1, samples, err))
		}
	}
	m.result.TrailingOctets = len(r.b)
	return nil
}

func (m *message) sflowSample(format uint32, b []byte) error {
	r := reader{b: b}
	switch format {
	case sflowFlowSample, sflowExpandedFlowSample:
		return m.sflowFlow(&r, format == sflowExpandedFlowSample)
	case sflowCounterSample, sflowExpandedCounterSample:
		return m.sflowCounters(&r, format == sflowExpandedCounterSample)
	case sflowDiscardedPacket:
		return m.sflowDiscarded(&r)
	}
	m.result.UnknownSets++
	m.result.UnknownOctets += len(b)
	return nil
}
