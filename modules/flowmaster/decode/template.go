package decode

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// variableLength is the field length that announces a length prefix in each
// record (RFC 7011 §7). H3C's NetFlow v9 uses it too.
const variableLength = 0xffff

// templateField is one field specifier, small because an exporter may send
// very many of them.
type templateField struct {
	enterprise uint32
	id         uint16
	length     uint16
	scope      bool
}

// template says how the records of a data set are laid out.
type template struct {
	id       uint16
	options  bool
	netflow9 bool
	fields   []templateField
	// minLength is the length of the shortest record, never 0; with fixed set
	// it is the length of every record.
	minLength int
	fixed     bool
	program   program
	used      int64 // last sent or used, in milliseconds since the Unix epoch
}

// newTemplate checks fields and compiles them. fields is copied.
func newTemplate(id uint16, options, netflow9 bool, fields []templateField) (*template, error) {
	t := &template{id: id, options: options, netflow9: netflow9, fixed: true}
	for _, f := range fields {
		if f.length == variableLength {
			t.fixed = false
			t.minLength++
		} else {
			t.minLength += int(f.length)
		}
	}
	if t.minLength == 0 {
		return nil, fmt.Errorf("template %d: its records would be empty: %w", id, ErrTemplate)
	}
	if t.minLength > 0xffff {
		return nil, fmt.Errorf("template %d: its records would be longer than a datagram: %w", id, ErrTemplate)
	}
	t.fields = slices.Clone(fields)
	if options {
		return t, nil
	}
	t.program = compile(t)
	return t, nil
}

// cost is about how many bytes of memory t takes.
func (t *template) cost() int64 {
	return 160 + int64(len(t.fields))*12 + int64(len(t.program.ops))*opBytes
}

// same reports whether t is what (options, fields) describes, so that a
// template sent again costs nothing.
func (t *template) same(options bool, fields []templateField) bool {
	return t.options == options && slices.Equal(t.fields, fields)
}

// next splits the first record off a data set's body. ok is false when what
// is left is shorter than a record, and so is padding. For templates of
// variable length it is an error if a field runs past the end.
func (t *template) next(body []byte) (record, rest []byte, ok bool, err error) {
	if len(body) < t.minLength {
		return nil, body, false, nil
	}
	if t.fixed {
		return body[:t.minLength], body[t.minLength:], true, nil
	}
	n := 0
	for i := range t.fields {
		_, end, err := fieldSpan(body, n, t.fields[i].length)
		if err != nil {
			if allZero(body) {
				return nil, body, false, nil
			}
			return nil, nil, false, err
		}
		n = end
	}
	return body[:n], body[n:], true, nil
}

// fieldSpan returns where a field that begins at offset at has its value: from
// start to end, past the length prefix of a field of variable length.
func fieldSpan(b []byte, at int, length uint16) (start, end int, err error) {
	start, n := at, int(length)
	if length == variableLength {
		if at >= len(b) {
			return 0, 0, fmt.Errorf("length of a variable-length field: %w", ErrTruncated)
		}
		start, n = at+1, int(b[at])
		if n == 255 {
			if at+3 > len(b) {
				return 0, 0, fmt.Errorf("length of a variable-length field: %w", ErrTruncated)
			}
			start, n = at+3, int(binary.BigEndian.Uint16(b[at+1:]))
		}
	}
	end = start + n
	if end > len(b) {
		return 0, 0, fmt.Errorf("field of %d octets with %d left: %w", n, len(b)-start, ErrTruncated)
	}
	return start, end, nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
