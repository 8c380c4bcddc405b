package decode

import (
	"net/netip"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// RecordKind tells what a DataRecord is about.
type RecordKind uint8

// The kinds of records.
const (
	FlowRecord    RecordKind = iota
	OptionsRecord            // about the exporter itself (RFC 7011 §3.4.2.2)
	CounterRecord            // counters of an sFlow agent
)

// DataRecord is one record with all its fields, as the exporter sent them.
type DataRecord struct {
	Exporter netip.Addr
	Received time.Time
	Source   flow.Source
	Domain   uint32
	Sequence uint32
	Exported time.Time // zero for sFlow
	// SysUpTime is how long ago the exporter booted, in milliseconds; 0 for
	// IPFIX. Uptimes in the record are to be read against it.
	SysUpTime uint32
	// TemplateID is 0 where there are no templates.
	TemplateID uint16
	Kind       RecordKind
	Fields     []Field
}

// Field is one field of a record.
type Field struct {
	// Name is the IANA or vendor's name. One that is not known is a number:
	// "8192", or "5951/129" with the enterprise number before the ID.
	Name string
	// Enterprise and ID are the numbers; both are 0 for sFlow's own fields.
	Enterprise uint32
	ID         uint16
	// Scope is set for fields that say what an options record is about.
	Scope bool
	Value Value
}

const paddingOctets = 210

// visitRecord gives a record of template t to the visitor.
func (m *message) visitRecord(t *template, b []byte, kind RecordKind) {
	m.begin(kind)
	m.data.TemplateID = t.id
	fields, err := m.appendFields(m.data.Fields[:0], t, b, 0)
	if err != nil {
		m.fail(err)
	}
	m.data.Fields = fields
	if t == netflow5Layout {
		m.visitHeader5()
	}
	m.visit(&m.data)
}

// begin prepares the record that the visitor gets.
func (m *message) begin(kind RecordKind) {
	m.data = DataRecord{
		Exporter: m.exporter.addr,
		Received: time.UnixMilli(m.received).UTC(),
		Source:   m.source,
		Domain:   m.result.Domain,
		Sequence: m.result.Sequence,
		Exported: m.result.Exported,
		Kind:     kind,
		Fields:   m.data.Fields[:0],
	}
	if m.source != flow.SourceIPFIX {
		m.data.SysUpTime = m.uptime
	}
}

// appendFields takes a record apart. Padding is left out. A list that does
// not hold together is kept as octets, and reported.
func (m *message) appendFields(dst []Field, t *template, b []byte, depth int) (fields []Field, err error) {
	n := 0
	for i := range t.fields {
		f := &t.fields[i]
		start, end, spanErr := fieldSpan(b, n, f.length)
		if spanErr != nil {
			return dst, spanErr
		}
		n = end
		if f.enterprise == penIANA && f.id == paddingOctets {
			continue
		}
		e, reverse := t.element(f)
		v := Value{Type: e.Type, Raw: b[start:end:end]}
		if v.Type >= BasicList {
			list, listErr := m.list(v.Type, v.Raw, depth+1)
			if listErr != nil {
				err = listErr
			} else {
				v.List = list
			}
		}
		dst = append(dst, Field{
			Name:       elementName(e, f.enterprise, f.id, reverse),
			Enterprise: f.enterprise,
			ID:         f.id,
			Scope:      f.scope,
			Value:      v,
		})
	}
	return dst, err
}

func (t *template) element(f *templateField) (e Element, reverse bool) {
	switch {
	case !t.netflow9:
		return LookupElement(f.enterprise, f.id)
	case f.scope:
		return lookupScope(f.id), false
	default:
		return lookupNetFlow9(f.id), false
	}
}
