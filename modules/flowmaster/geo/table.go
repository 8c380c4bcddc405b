package geo

import (
	"slices"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// Info is what is known of an address. What is not known is zero.
type Info struct {
	AS      uint32
	Country flow.Country
}

// table has what was read from a database: where the ranges of addresses begin that have
// the same Info. Neighbours that a database tells apart by city alone are one range here,
// so a table is much smaller than its file. It does not change once it is sealed.
type table struct {
	four struct {
		starts []uint32
		infos  []Info
		first  []uint32 // by the upper 16 bits: the first range that begins there or later
	}
	six struct {
		starts []flow.Addr
		infos  []Info
	}
	names map[uint32]string // of organizations, by AS
	about about
}

// add4 gives the addresses from start on, up to the next start, an Info.
func (t *table) add4(start uint32, info Info) {
	f := &t.four
	if n := len(f.infos); n == 0 || f.infos[n-1] != info {
		f.starts, f.infos = append(f.starts, start), append(f.infos, info)
	}
}

func (t *table) add6(start flow.Addr, info Info) {
	s := &t.six
	if n := len(s.infos); n == 0 || s.infos[n-1] != info {
		s.starts, s.infos = append(s.starts, start), append(s.infos, info)
	}
}

func (t *table) ranges() int { return len(t.four.infos) + len(t.six.infos) }

// seal makes the table ready to be asked.
func (t *table) seal() {
	f, s := &t.four, &t.six
	f.starts, f.infos = slices.Clip(f.starts), slices.Clip(f.infos)
	s.starts, s.infos = slices.Clip(s.starts), slices.Clip(s.infos)
	f.first = make([]uint32, 1<<16+1)
	at := 0
	for i := range f.first {
		for at < len(f.starts) && uint64(f.starts[at]) < uint64(i)<<16 {
			at++
		}
		f.first[i] = uint32(at)
	}
}

// lookup returns what is known of a.
func (t *table) lookup(a flow.Addr) Info {
	if a.Is4() {
		return t.lookup4(a.V4())
	}
	if a.IsZero() {
		return Info{}
	}
	s := &t.six
	i, exact := slices.BinarySearchFunc(s.starts, a, flow.Addr.Compare)
	if !exact {
		i--
	}
	if i < 0 {
		return Info{}
	}
	return s.infos[i]
}

func (t *table) lookup4(v uint32) Info {
	f := &t.four
	low, high := int(f.first[v>>16]), int(f.first[v>>16+1])
	for low < high { // the first range that begins behind v
		middle := (low + high) / 2
		if f.starts[middle] <= v {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == 0 {
		return Info{}
	}
	return f.infos[low-1]
}

// memoryBytes is about what the table takes.
func (t *table) memoryBytes() int64 {
	n := 12*len(t.four.infos) + 4*len(t.four.first) + 24*len(t.six.infos)
	for _, name := range t.names {
		n += 40 + len(name) // with what the map leaves empty
	}
	return int64(n)
}
