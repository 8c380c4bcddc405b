// Package geotest makes small databases in MaxMind's format, for tests.
// https://maxmind.github.io/MaxMind-DB/ describes it.
package geotest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sort"
	"time"
)

// Writer collects networks. The zero Writer makes an IPv6 database, which has IPv4 too, of
// type "Test" with records of 24 bits.
type Writer struct {
	Type       string
	IPVersion  int
	RecordSize int
	Built      time.Time

	nodes []node
	data  []byte
	at    map[string]int // entries that are written already, by their octets
}

// node has two records each: 0 is empty, a positive number the node with that number, and
// a negative one ^offset of an entry.
type node [2]int

// Map is a map; in it may be Map, string, uint32, uint64 and []any.
type Map map[string]any

// Add gives all addresses of a network an entry. Later ones replace parts of earlier ones.
func (w *Writer) Add(prefix string, entry any) {
	p := netip.MustParsePrefix(prefix)
	if w.nodes == nil {
		w.nodes, w.at = make([]node, 1), make(map[string]int)
	}
	b := encode(nil, entry)
	offset, ok := w.at[string(b)]
	if !ok {
		offset = len(w.data)
		w.at[string(b)] = offset
		w.data = append(w.data, b...)
	}
	bits, ip := p.Bits(), p.Addr().As16()
	first := 0
	if p.Addr().Is4() {
		bits += 96
		ip[10], ip[11] = 0, 0 // IPv4 stands at ::/96
		if w.IPVersion == 4 {
			first = 96
		}
	}
	w.set(ip, first, bits, ^offset)
}

func (w *Writer) set(ip [16]byte, first, bits, to int) {
	n := 0
	for i := first; ; i++ {
		bit := ip[i/8] >> (7 - i%8) & 1
		r := w.nodes[n][bit]
		if i == bits-1 {
			w.nodes[n][bit] = to
			return
		}
		if r <= 0 { // empty, or an entry that is split
			w.nodes = append(w.nodes, node{r, r})
			r = len(w.nodes) - 1
			w.nodes[n][bit] = r
		}
		n = r
	}
}

// Loop makes a part of the tree lead back to its root.
func (w *Writer) Loop(prefix string) { w.lead(prefix, loop) }

// Alias makes a part of the tree lead to that of IPv4, as MaxMind does for 2002::/16.
func (w *Writer) Alias(prefix string) {
	n := 0
	for range 96 {
		n = w.nodes[n][0]
	}
	w.lead(prefix, n)
}

func (w *Writer) lead(prefix string, to int) {
	p := netip.MustParsePrefix(prefix)
	w.set(p.Addr().As16(), 0, p.Bits(), to)
}

const loop = 1 << 40

// Bytes returns the database.
func (w *Writer) Bytes() []byte {
	if w.nodes == nil {
		w.nodes = make([]node, 1)
	}
	size, version, typ := w.RecordSize, w.IPVersion, w.Type
	if size == 0 {
		size = 24
	}
	if version == 0 {
		version = 6
	}
	if typ == "" {
		typ = "Test"
	}
	var b []byte
	for _, n := range w.nodes {
		b = appendNode(b, size, w.value(n[0]), w.value(n[1]))
	}
	b = append(b, make([]byte, 16)...)
	b = append(b, w.data...)
	b = append(b, "\xab\xcd\xefMaxMind.com"...)
	return encode(b, Map{
		"binary_format_major_version": uint32(2), "binary_format_minor_version": uint32(0), "build_epoch": uint64(w.Built.Unix()),
		"database_type": typ, "description": Map{"en": "for tests"}, "ip_version": uint32(version), "languages": []any{"en"},
		"node_count": uint32(len(w.nodes)), "record_size": uint32(size),
	})
}

func (w *Writer) value(r int) uint32 {
	switch {
	case r == loop:
		return 0
	case r == 0:
		return uint32(len(w.nodes))
	case r < 0:
		return uint32(len(w.nodes) + 16 + ^r)
	}
	return uint32(r)
}

func appendNode(b []byte, size int, left, right uint32) []byte {
	switch size {
	case 24:
		return append(b, byte(left>>16), byte(left>>8), byte(left), byte(right>>16), byte(right>>8), byte(right))
	case 28:
		return append(b, byte(left>>16), byte(left>>8), byte(left), byte(left>>24<<4|right>>24), byte(right>>16), byte(right>>8), byte(right))
	}
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, left), right)
}

// The types of the data section.
const (
	typeString = 2
	typeUint32 = 6
	typeMap    = 7
	typeUint64 = 9
	typeArray  = 11
)

func encode(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return append(head(b, typeString, len(v)), v...)
	case uint32:
		return binary.BigEndian.AppendUint32(head(b, typeUint32, 4), v)
	case uint64:
		return binary.BigEndian.AppendUint64(head(b, typeUint64, 8), v)
	case []any:
		b = head(b, typeArray, len(v))
		for _, e := range v {
			b = encode(b, e)
		}
		return b
	case Map:
		b = head(b, typeMap, len(v))
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			b = encode(encode(b, k), v[k])
		}
		return b
	}
	panic(fmt.Sprintf("geotest: no encoding for %T", v))
}

// head writes type and size of a value of up to 65,820 octets or parts.
func head(b []byte, typ, n int) []byte {
	size, more := n, []byte(nil)
	switch {
	case n >= 285:
		size, more = 30, []byte{byte((n - 285) >> 8), byte(n - 285)}
	case n >= 29:
		size, more = 29, []byte{byte(n - 29)}
	}
	if typ > 7 {
		b = append(b, byte(size), byte(typ-7))
	} else {
		b = append(b, byte(typ<<5|size))
	}
	return append(b, more...)
}
