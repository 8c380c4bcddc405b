package decode

import (
	"encoding/binary"
	"fmt"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// templateSet reads the templates of a NetFlow v9 or IPFIX template set, or of
// an IPFIX options template set.
func (m *message) templateSet(b []byte, options bool) error {
	head := 4
	if options {
		head = 6
	}
	for len(b) >= 4 {
		id, count := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if id < setFirstData && !m.withdrawsAll(id, count, options) {
			return paddingOr(b, "template ID %d", id)
		}
		if count == 0 && m.source == flow.SourceIPFIX {
			m.withdraw(id, options)
			b = b[4:]
			continue
		}
		if len(b) < head {
			return fmt.Errorf("template %d: %w", id, ErrTruncated)
		}
		scope := 0
		if options {
			scope = int(binary.BigEndian.Uint16(b[4:]))
		}
		rest, err := m.readFields(b[head:], count, scope)
		if err != nil {
			return fmt.Errorf("template %d: %w", id, err)
		}
		b = rest
		if scope > count { // none is against RFC 7011 §3.4.2.2, but harmless
			m.refuse(id, fmt.Errorf("template %d: %d scope fields of %d: %w", id, scope, count, ErrTemplate))
			continue
		}
		m.learnTemplate(id, count, options)
	}
	return nil
}

// optionsTemplateSet9 reads a NetFlow v9 options template set, which counts
// octets of specifiers instead of fields.
func (m *message) optionsTemplateSet9(b []byte) error {
	for len(b) >= 6 {
		id := binary.BigEndian.Uint16(b)
		scope, option := int(binary.BigEndian.Uint16(b[2:])), int(binary.BigEndian.Uint16(b[4:]))
		if id < setFirstData {
			return paddingOr(b, "template ID %d", id)
		}
		if scope%4 != 0 || option%4 != 0 {
			return fmt.Errorf("template %d: %d and %d octets of specifiers: %w", id, scope, option, ErrLength)
		}
		count := (scope + option) / 4
		rest, err := m.readFields(b[6:], count, scope/4)
		if err != nil {
			return fmt.Errorf("template %d: %w", id, err)
		}
		b = rest
		m.learnTemplate(id, count, true)
	}
	return nil
}

// paddingOr returns nil when all that is left is zero: padding.
func paddingOr(b []byte, format string, args ...any) error {
	if allZero(b) {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, ErrTemplate)...)
}

// readFields reads count field specifiers into m.fields, of which the first
// scope are scope fields. Past the limit they are read but not kept.
func (m *message) readFields(b []byte, count, scope int) (rest []byte, err error) {
	m.fields = m.fields[:0]
	for i := range count {
		if len(b) < 4 {
			return nil, fmt.Errorf("field %d of %d: %w", i+1, count, ErrTruncated)
		}
		f := templateField{
			id:     binary.BigEndian.Uint16(b),
			length: binary.BigEndian.Uint16(b[2:]),
			scope:  i < scope,
		}
		b = b[4:]
		if m.source == flow.SourceIPFIX && f.id&0x8000 != 0 {
			if len(b) < 4 {
				return nil, fmt.Errorf("enterprise number of field %d of %d: %w", i+1, count, ErrTruncated)
			}
			f.id &^= 0x8000
			f.enterprise = binary.BigEndian.Uint32(b)
			b = b[4:]
		}
		if i < m.limits.Fields {
			m.fields = append(m.fields, f)
		}
	}
	return b, nil
}

// learnTemplate remembers the template whose fields are in m.fields.
func (m *message) learnTemplate(id uint16, count int, options bool) {
	if count > m.limits.Fields {
		m.refuse(id, fmt.Errorf("template %d: %d fields of at most %d: %w", id, count, m.limits.Fields, ErrLimit))
		return
	}
	if t := m.domain.templates[id]; t != nil && t.same(options, m.fields) {
		t.used = m.received
		m.result.Templates++
		return
	}
	t, err := newTemplate(id, options, m.source == flow.SourceNetFlow9, m.fields)
	if err == nil {
		t.used = m.received
		err = m.store.putTemplate(m.exporter, m.domain, t)
	}
	if err != nil {
		m.refuse(id, err)
		return
	}
	m.result.Templates++
}

// refuse reports a template that cannot be used. What had its ID is forgotten
// too: records that follow are laid out by the new one.
func (m *message) refuse(id uint16, err error) {
	m.store.dropTemplate(m.exporter, m.domain, id)
	m.result.Forgotten++
	m.exporter.counters.TemplatesRefused++
	m.fail(err)
}

// withdrawsAll recognises the withdrawal of all templates of one kind: the
// set's own ID in place of a template's (RFC 7011 §8.1).
func (m *message) withdrawsAll(id uint16, count int, options bool) bool {
	if m.source != flow.SourceIPFIX || count != 0 {
		return false
	}
	return options && id == setOptionsTemplate10 || !options && id == setTemplate10
}

// withdraw forgets one template, or all of one kind.
func (m *message) withdraw(id uint16, options bool) {
	m.result.Forgotten++
	m.exporter.counters.Withdrawals++
	if id >= setFirstData {
		m.store.dropTemplate(m.exporter, m.domain, id)
		return
	}
	for id, t := range m.domain.templates {
		if t.options == options {
			m.store.dropTemplate(m.exporter, m.domain, id)
		}
	}
}
