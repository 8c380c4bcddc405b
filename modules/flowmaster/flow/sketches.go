package flow

import (
	"hash/maphash"

	"github.com/axiomhq/hyperloglog"
)

// sketches is what a shard collects for one pane of time: a top list for each
// dimension, and how many different clients there were.
type sketches struct {
	top      [dimensions]*spaceSaving
	distinct *hyperloglog.Sketch
}

func newSketches(k int) *sketches {
	s := &sketches{distinct: newDistinct()}
	for i := range s.top {
		s.top[i] = newSpaceSaving(k)
	}
	return s
}

// newDistinct returns a HyperLogLog sketch of 2^14 registers, which has a
// standard error of 0.8 %. It begins dense: that never allocates again.
func newDistinct() *hyperloglog.Sketch { return hyperloglog.NewNoSparse() }

// addClient counts a client by its whole address. The sketch holds no
// address, and the seed, which is never stored, keeps one from being looked
// up in it.
func (s *sketches) addClient(seed maphash.Seed, client Addr) {
	if !client.IsZero() {
		s.distinct.InsertHash(maphash.Comparable(seed, client))
	}
}

// add adds a record, whose addresses are masked, to the lists of the
// dimensions that it says something about.
func (s *sketches) add(r *Record) {
	weight := r.ScaledOctets()
	if r.Leg != LegUpstream { // there, the client is this proxy
		client, as, country := r.SourceAddress, r.SourceAS, r.SourceCountry
		if r.clientIsDestination() {
			client, as, country = r.DestinationAddress, r.DestinationAS, r.DestinationCountry
		}
		if !client.IsZero() {
			s.top[ByClientPrefix].add(Key{Address: client}, weight)
		}
		if as != 0 {
			s.top[ByClientAS].add(Key{Number: as}, weight)
		}
		if country != (Country{}) {
			s.top[ByClientCountry].add(Key{Number: uint32(country[0])<<8 | uint32(country[1])}, weight)
		}
	}
	if r.Backend != 0 {
		s.top[ByBackend].add(Key{Number: uint32(r.Backend)}, weight)
	}
	if hasPorts(r.ProtocolIdentifier) {
		_, service := r.Client()
		s.top[ByServicePort].add(Key{Number: uint32(r.ProtocolIdentifier)<<16 | uint32(service)}, weight)
	}
	if !r.Exporter.IsZero() {
		s.top[ByExporter].add(Key{Address: r.Exporter}, weight)
	}
}

// reset empties the sketches and keeps their memory.
func (s *sketches) reset() {
	for _, t := range s.top {
		t.reset()
	}
	s.distinct.Reset()
}

// pane is what was collected in one pane of time, of all shards.
type pane struct {
	start    int64 // in Unix seconds
	top      [dimensions]*topSummary
	distinct *hyperloglog.Sketch
}

// mergePanes puts panes together. parts must not be empty.
func mergePanes(k int, start int64, parts []*pane) *pane {
	out := &pane{start: start, distinct: newDistinct()}
	for d := range out.top {
		summaries := make([]*topSummary, len(parts))
		for i, p := range parts {
			summaries[i] = p.top[d]
		}
		out.top[d] = mergeSummaries(k, summaries)
	}
	for _, p := range parts {
		mergeDistinct(out.distinct, p.distinct)
	}
	return out
}

// mergeDistinct adds b to a. Sketches of one precision, as all here are,
// always merge.
func mergeDistinct(a, b *hyperloglog.Sketch) {
	if err := a.Merge(b); err != nil {
		panic("flow: merging HyperLogLog sketches of one precision: " + err.Error())
	}
}

// paneOf copies what a shard collected.
func paneOf(start int64, s *sketches) *pane {
	p := &pane{start: start, distinct: s.distinct.Clone()}
	for d := range s.top {
		p.top[d] = s.top[d].summary()
	}
	return p
}
