package decode

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// List is a value of one of the structured types of RFC 6313.
type List struct {
	// Semantic says how the elements belong together (RFC 6313 §4.4): 0 none
	// of, 1 exactly one of, 2 one or more of, 3 all of, 4 ordered, 255 not
	// said.
	Semantic uint8
	// Name is the element a basicList is made of, "" for the other lists.
	Name   string
	Values []Value
	// Records are those of a subTemplateList or subTemplateMultiList.
	Records []ListRecord
}

// ListRecord is one record inside a list.
type ListRecord struct {
	TemplateID uint16
	Fields     []Field
}

// maxListDepth bounds how deep lists may nest. YAF's go two deep.
const maxListDepth = 4

// list takes the value of a list type apart.
func (m *message) list(kind Type, b []byte, depth int) (*List, error) {
	if depth > maxListDepth {
		return nil, fmt.Errorf("lists nested deeper than %d: %w", maxListDepth, ErrList)
	}
	if len(b) == 0 {
		return &List{Semantic: 255}, nil // left empty
	}
	l := &List{Semantic: b[0]}
	b = b[1:]
	switch kind {
	case BasicList:
		return l, m.basicList(l, b, depth)
	case SubTemplateList:
		if len(b) < 2 {
			return nil, fmt.Errorf("subTemplateList of %d octets: %w", len(b)+1, ErrList)
		}
		return l, m.listRecords(l, binary.BigEndian.Uint16(b), b[2:], depth)
	default:
		for len(b) > 0 {
			if len(b) < 4 {
				return nil, fmt.Errorf("subTemplateMultiList with %d octets left: %w", len(b), ErrList)
			}
			id, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
			if n < 4 || n > len(b) {
				return nil, fmt.Errorf("subTemplateMultiList: %d octets for template %d with %d left: %w", n, id, len(b), ErrList)
			}
			if err := m.listRecords(l, id, b[4:n], depth); err != nil {
				return nil, err
			}
			b = b[n:]
		}
		return l, nil
	}
}

// basicList reads values of one element. An element of no length is refused
// unless the list is empty: no number of them would fill it.
func (m *message) basicList(l *List, b []byte, depth int) error {
	if len(b) < 4 {
		return fmt.Errorf("basicList of %d octets: %w", len(b)+1, ErrList)
	}
	f := templateField{id: binary.BigEndian.Uint16(b), length: binary.BigEndian.Uint16(b[2:])}
	b = b[4:]
	if f.id&0x8000 != 0 {
		if len(b) < 4 {
			return fmt.Errorf("basicList without its enterprise number: %w", ErrList)
		}
		f.id &^= 0x8000
		f.enterprise = binary.BigEndian.Uint32(b)
		b = b[4:]
	}
	if f.length == 0 && len(b) > 0 {
		return fmt.Errorf("basicList of empty elements: %w", ErrList)
	}
	e, reverse := LookupElement(f.enterprise, f.id)
	l.Name = elementName(e, f.enterprise, f.id, reverse)
	for n := 0; n < len(b); {
		start, end, err := fieldSpan(b, n, f.length)
		if err != nil {
			return fmt.Errorf("basicList of %s: %w", l.Name, err)
		}
		n = end
		v := Value{Type: e.Type, Raw: b[start:end:end]}
		if v.Type >= BasicList {
			if v.List, err = m.list(v.Type, v.Raw, depth+1); err != nil {
				return err
			}
		}
		l.Values = append(l.Values, v)
	}
	return nil
}

// listRecords reads the records of one template inside a list. Records whose
// template is not known are shown as octets, and reported.
func (m *message) listRecords(l *List, id uint16, b []byte, depth int) error {
	t := m.domain.templates[id]
	if t == nil {
		if len(b) > 0 {
			l.Records = append(l.Records, ListRecord{TemplateID: id, Fields: []Field{{
				Name:  "unknownTemplate" + strconv.Itoa(int(id)),
				Value: Value{Raw: b},
			}}})
			m.fail(fmt.Errorf("list of template %d, which has not come: %w", id, ErrList))
		}
		return nil
	}
	t.used = m.received
	for {
		record, rest, ok, err := t.next(b)
		if err != nil {
			return fmt.Errorf("list of template %d: %w", id, err)
		}
		if !ok {
			return nil
		}
		b = rest
		fields, err := m.appendFields(nil, t, record, depth)
		if err != nil {
			return err
		}
		l.Records = append(l.Records, ListRecord{TemplateID: id, Fields: fields})
	}
}

func (l *List) appendJSON(dst []byte) []byte {
	dst = append(dst, '[')
	for i := range l.Values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = l.Values[i].AppendJSON(dst)
	}
	for i := range l.Records {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '{')
		dst = appendFieldsJSON(dst, l.Records[i].Fields, false)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}
