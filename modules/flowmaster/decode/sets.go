package decode

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// Set IDs (RFC 3954 §5.2, §6.1 and RFC 7011 §3.3.2).
const (
	setTemplate9         = 0
	setOptionsTemplate9  = 1
	setTemplate10        = 2
	setOptionsTemplate10 = 3
	setFirstData         = 256
)

const setHeader = 4

// sets decodes the sets of a NetFlow v9 or IPFIX message. Faults inside a set
// are kept and the next set is read; a set whose length cannot be true ends
// the message.
func (m *message) sets(b []byte) error {
	m.setBase()
	for len(b) >= setHeader {
		id, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if n < setHeader || n > len(b) {
			if allZero(b) {
				break // padding
			}
			return fmt.Errorf("set %d of %d octets with %d left: %w", id, n, len(b), ErrLength)
		}
		body := b[setHeader:n]
		b = b[n:]
		if err := m.set(id, body); err != nil {
			m.fail(fmt.Errorf("set %d: %w", id, err))
		}
	}
	if len(b) < setHeader && !allZero(b) {
		return fmt.Errorf("set header: %d octets: %w", len(b), ErrTruncated)
	}
	return nil
}

func (m *message) set(id uint16, body []byte) error {
	if id >= setFirstData {
		return m.dataSet(id, body)
	}
	if m.source == flow.SourceNetFlow9 {
		switch id {
		case setTemplate9:
			return m.templateSet(body, false)
		case setOptionsTemplate9:
			return m.optionsTemplateSet9(body)
		}
		return errReservedSet
	}
	switch id {
	case setTemplate10:
		return m.templateSet(body, false)
	case setOptionsTemplate10:
		return m.templateSet(body, true)
	}
	return errReservedSet
}

var errReservedSet = fmt.Errorf("an ID that is reserved: %w", ErrLength)

// dataSet decodes the records of a data set.
func (m *message) dataSet(id uint16, body []byte) error {
	t := m.domain.templates[id]
	if t == nil || m.limits.expired(t.used, m.received) {
		m.result.UnknownSets++
		m.result.UnknownOctets += len(body)
		return nil
	}
	t.used = m.received
	// Behind records there may be padding, of some exporters not even zeros. A
	// set that has nothing else is one that its template does not fit.
	if len(body) < t.minLength && !allZero(body) {
		return fmt.Errorf("%d octets for records of %d: %w", len(body), t.minLength, ErrTruncated)
	}
	if t.options {
		return m.optionsData(t, body)
	}
	if m.visit == nil && t.fixed && t.program.yields {
		return m.fixedData(t, body)
	}
	for {
		record, rest, ok, err := t.next(body)
		if err != nil || !ok {
			return err
		}
		body = rest
		if err := m.countRecord(&m.result.Records); err != nil {
			return err
		}
		switch {
		case m.visit != nil:
			m.visitRecord(t, record, FlowRecord)
		case t.program.yields:
			m.out = append(m.out, m.base)
			r := &m.out[len(m.out)-1]
			m.scratch = scratch{}
			if t.fixed {
				t.program.runFixed(r, record, m)
			} else {
				t.program.runVariable(r, record, m)
			}
			m.finish(t.program.after, r)
		}
	}
}

// fixedData is dataSet for the templates that nearly all exporters use nearly
// always: records of one length.
func (m *message) fixedData(t *template, body []byte) error {
	n := t.minLength
	count := min(len(body)/n, maxRecords-m.result.Records-m.result.OptionRecords)
	out := m.more(count)
	for i := range out {
		r := &out[i]
		*r = m.base
		if t.program.after == 0 {
			t.program.runFixed(r, body[i*n:(i+1)*n], m)
			continue
		}
		m.scratch = scratch{}
		t.program.runFixed(r, body[i*n:(i+1)*n], m)
		m.finish(t.program.after, r)
	}
	m.result.Records += count
	if count < len(body)/n {
		return errTooManyRecords
	}
	return nil
}

// more makes m.out longer by n records, and returns those.
func (m *message) more(n int) []flow.Record {
	from := len(m.out)
	m.out = slices.Grow(m.out, n)[:from+n]
	return m.out[from:]
}

var errTooManyRecords = fmt.Errorf("more than %d records in one datagram: %w", maxRecords, ErrLimit)

func (m *message) countRecord(n *int) error {
	if m.result.Records+m.result.OptionRecords >= maxRecords {
		return errTooManyRecords
	}
	*n++
	return nil
}

// optionsData decodes option data records. They are no flows, but may say how
// flows are sampled.
func (m *message) optionsData(t *template, body []byte) error {
	for {
		record, rest, ok, err := t.next(body)
		if err != nil || !ok {
			return err
		}
		body = rest
		if err := m.countRecord(&m.result.OptionRecords); err != nil {
			return err
		}
		m.learn(t, record)
		if m.visit != nil {
			m.visitRecord(t, record, OptionsRecord)
		}
	}
}

// finish does what can only be done once all fields of a record are in.
func (m *message) finish(after after, r *flow.Record) {
	s := &m.scratch
	if after&afterTimes != 0 {
		m.finishTimes(r)
	}
	if after&afterICMP != 0 {
		r.ICMPTypeCode = uint16(s.icmpType)<<8 | uint16(s.icmpCode)
	}
	if m.override != 0 {
		return
	}
	if after&afterSampler != 0 && s.hasSampler {
		setSampling(r, m.samplerInterval(s.sampler))
	}
	if after&afterSampling != 0 {
		if n := s.interval(); n != 0 {
			setSampling(r, n)
		}
	}
}
