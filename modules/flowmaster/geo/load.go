package geo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

const (
	// A database with more different entries, or more ranges, is refused. The largest that
	// are sold have about a tenth.
	mostEntries = 4 << 20
	mostRanges  = 8 << 20
	// Names of more organizations are left out. Some 120,000 AS numbers are given away.
	mostNames = 1 << 18
	// What a database may take to be read. One that is made to take long must not hold up
	// a start for ever.
	longestLoad = time.Minute
)

// ErrUseless is the error for a database that has neither countries nor AS numbers.
var ErrUseless = errors.New("it has neither country codes nor AS numbers")

// about is what the status tells of a database.
type about struct {
	kind                          string
	built                         time.Time
	networks                      int
	networksAS, networksCountries int
}

// loader makes a table of a database.
type loader struct {
	table *table
	infos map[uintptr]Info // by where in the file an entry stands
	next4 netip.Addr       // where the next network must begin; invalid behind the last
	next6 netip.Addr
}

// newTable reads the database in b.
func newTable(ctx context.Context, b []byte) (t *table, err error) {
	defer func() {
		if r := recover(); r != nil { // no file may take the process with it
			t, err = nil, fmt.Errorf("reading it panicked: %v", r)
		}
	}()
	reader, err := maxminddb.OpenBytes(b, maxminddb.DisableStringCache())
	if err != nil {
		return nil, err
	}
	m := &reader.Metadata
	l := loader{
		table: &table{names: make(map[uint32]string), about: about{kind: clean(m.DatabaseType), built: built(m.BuildEpoch)}},
		infos: make(map[uintptr]Info), next4: netip.IPv4Unspecified(), next6: netip.IPv6Unspecified(),
	}
	// A tree of n nodes has n+1 ends. In some databases a part of it can be reached in
	// several ways, but one with many more ends leads in circles.
	ends, mostEnds := uint(0), 4*(m.NodeCount+1)+1024
	began := time.Now()
	for network := range reader.Networks(maxminddb.IncludeNetworksWithoutData()) {
		if ends++; ends > mostEnds {
			return nil, errors.New("its search tree is none: it leads in circles")
		}
		if ends%1024 == 0 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if time.Since(began) > longestLoad {
				return nil, fmt.Errorf("reading it takes more than %v", longestLoad)
			}
		}
		if err := l.take(network); err != nil {
			return nil, err
		}
	}
	l.gap(&l.next4, netip.Addr{})
	l.gap(&l.next6, netip.Addr{})
	if a := &l.table.about; a.networksAS == 0 && a.networksCountries == 0 {
		return nil, fmt.Errorf("type %q: %w", a.kind, ErrUseless)
	}
	l.table.seal()
	return l.table, nil
}

// take takes in a network. They come in the order of their addresses, IPv4 first.
func (l *loader) take(network maxminddb.Result) error {
	if err := network.Err(); err != nil {
		return err
	}
	var info Info
	if network.Found() {
		var err error
		if info, err = l.info(network); err != nil {
			return fmt.Errorf("entry of %s: %w", network.Prefix(), err)
		}
		a := &l.table.about
		a.networks++
		if info.AS != 0 {
			a.networksAS++
		}
		if info.Country != (flow.Country{}) {
			a.networksCountries++
		}
	}
	p := network.Prefix()
	if !p.IsValid() {
		return errors.New("it has a network without an address")
	}
	if p.Addr().Is6() && p.Addr().IsUnspecified() && p.Bits() <= 96 {
		l.table.add4(0, info) // all of IPv4 is a part of this network
		l.next4 = netip.Addr{}
	}
	next := &l.next6
	if p.Addr().Is4() {
		next = &l.next4
	}
	l.gap(next, p.Addr())
	l.add(p.Addr(), info)
	*next = lastOf(p).Next()
	if l.table.ranges() > mostRanges {
		return fmt.Errorf("it has more than %d ranges of addresses", mostRanges)
	}
	return nil
}

// gap says that nothing is known from where the last network ended up to at: there are
// other ways to networks that were there already.
func (l *loader) gap(next *netip.Addr, at netip.Addr) {
	if next.IsValid() && *next != at {
		l.add(*next, Info{})
	}
}

func (l *loader) add(start netip.Addr, info Info) {
	if a := flow.AddrFrom(start); start.Is4() {
		l.table.add4(a.V4(), info)
	} else {
		l.table.add6(a, info)
	}
}

// info returns what the entry of a network says. Most networks share theirs with others.
func (l *loader) info(network maxminddb.Result) (Info, error) {
	if info, known := l.infos[network.Offset()]; known {
		return info, nil
	}
	if len(l.infos) >= mostEntries {
		return Info{}, fmt.Errorf("there are more than %d different ones", mostEntries)
	}
	e, err := decodeEntry(network)
	if err != nil {
		return Info{}, err
	}
	l.infos[network.Offset()] = e.Info
	if names := l.table.names; e.AS != 0 && e.organization != "" && len(names) < mostNames {
		names[e.AS] = strings.Clone(e.organization)
	}
	return e.Info, nil
}

// lastOf returns the last address of p.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().As16()
	n := p.Bits()
	if p.Addr().Is4() {
		n += 96
	}
	for i := n; i < 128; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	if p.Addr().Is4() {
		return netip.AddrFrom16(b).Unmap()
	}
	return netip.AddrFrom16(b)
}

// built keeps times of broken files inside the years that RFC 3339 can write.
func built(epoch uint) time.Time {
	const year10000 = 253_402_300_800
	return time.Unix(int64(min(uint64(epoch), year10000-1)), 0).UTC()
}
