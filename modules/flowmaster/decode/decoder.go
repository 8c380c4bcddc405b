package decode

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// Packet is one datagram.
type Packet struct {
	// Exporter is the address it came from.
	Exporter netip.Addr
	// Received is when it came.
	Received time.Time
	// Payload is what the datagram holds. It is only read, and not kept.
	Payload []byte
	// Sampling, if not 0, is the sampling interval to use whatever the
	// exporter says: 1 in Sampling packets.
	Sampling uint32
}

// Result says what was in a datagram.
type Result struct {
	Source   flow.Source
	Domain   uint32
	Sequence uint32
	// Exported is the exporter's time in the header; zero for sFlow, which
	// has none.
	Exported time.Time

	Records        int // flow records
	OptionRecords  int // option data records
	CounterSamples int // sFlow counter samples
	// DiscardedPackets is how many packets an sFlow agent told to have discarded.
	DiscardedPackets int
	Templates        int // templates new or sent again
	Forgotten        int // templates withdrawn, or given up for one that cannot be used
	UnknownSets      int // data sets whose template is not known
	UnknownOctets    int // what was in them
	TrailingOctets   int // what stood behind the end of the message
	Lost             uint32
}

// Decoder decodes datagrams. Each worker has its own; they share a Store. A
// Decoder is not safe for concurrent use.
type Decoder struct {
	store *Store
	m     message
}

// NewDecoder returns a Decoder that keeps what it must remember in store.
func NewDecoder(store *Store) *Decoder {
	return &Decoder{store: store}
}

// message is the work on one datagram.
type message struct {
	store    *Store
	limits   *Limits
	exporter *exporter
	domain   *domain

	source             flow.Source
	received           int64 // milliseconds since the Unix epoch
	exportMilliseconds int64
	uptime             uint32 // milliseconds since the exporter booted
	override           uint32
	result             Result
	headerCount        int
	agent              []byte // address in an sFlow header
	header5            [netflow5Header]byte
	firstError         error

	// One of the two ways out is used: records are appended to out, or given
	// to visit.
	out   []flow.Record
	visit func(*DataRecord)

	base    flow.Record // what all records of a set have in common
	scratch scratch
	sample  flowSample
	data    DataRecord
	fields  []templateField // while parsing a template
}

// Decode decodes one datagram and appends its flow records to dst. It returns
// the extended slice and what was found, also when there is an error: then
// the records before the fault are there. Option data records are not
// appended, but what they say about sampling is used.
//
// Decode takes time linear in the length of the payload, and allocates only
// for templates and samplers it has not seen before and to grow dst.
func (d *Decoder) Decode(dst []flow.Record, p Packet) ([]flow.Record, Result, error) {
	d.m.out, d.m.visit = dst, nil
	err := d.guard(p)
	out := d.m.out
	d.m.out = nil
	return out, d.m.result, err
}

// Visit decodes one datagram and calls visit for each record: flow records,
// option data records, sFlow counter samples and discarded packets, in the
// order they came. The
// DataRecord and all it refers to are valid only until visit returns, and
// visit must not use the Decoder or its Store.
func (d *Decoder) Visit(p Packet, visit func(*DataRecord)) (Result, error) {
	d.m.out, d.m.visit = nil, visit
	err := d.guard(p)
	d.m.visit = nil
	return d.m.result, err
}

// guard makes sure that no datagram, whatever it does to the decoder, takes
// the process with it.
func (d *Decoder) guard(p Packet) (err error) {
	visiting := d.m.visit != nil
	defer func() {
		if r := recover(); r != nil {
			if visiting {
				panic(r) // may be the caller's own
			}
			d.store.panics.Add(1)
			err = fmt.Errorf("%w: %v", ErrInternal, r)
		}
	}()
	return d.decode(p)
}

func (d *Decoder) decode(p Packet) error {
	m := &d.m
	m.store, m.limits = d.store, d.store.limits.Load()
	m.result, m.firstError = Result{}, nil
	b := p.Payload
	source, err := Identify(b)
	if err != nil {
		d.store.undecodable.Add(1)
		return err
	}
	m.result.Source, m.source = source, source
	m.received = p.Received.UnixMilli()
	m.override = p.Sampling
	e, err := d.store.acquire(p.Exporter.Unmap(), m.received)
	if err != nil {
		return err
	}
	defer e.mu.Unlock()
	m.exporter = e
	c := &e.counters
	c.Datagrams++
	c.Octets += uint64(len(b))
	if e.overRate(m.received, m.limits) {
		c.RateLimited++
		return ErrRate
	}
	switch source {
	case flow.SourceNetFlow5:
		err = m.netflow5(b)
	case flow.SourceNetFlow9:
		err = m.netflow9(b)
	case flow.SourceIPFIX:
		err = m.ipfix(b)
	case flow.SourceSFlow:
		err = m.sflow(b)
	}
	if err = errors.Join(m.firstError, err); err != nil {
		c.Errors++
		err = fmt.Errorf("%s: %w", source, err)
	}
	r := &m.result
	c.Records += uint64(r.Records)
	c.OptionRecords += uint64(r.OptionRecords)
	c.CounterSamples += uint64(r.CounterSamples)
	c.Templates += uint64(r.Templates)
	c.UnknownSets += uint64(r.UnknownSets)
	c.UnknownOctets += uint64(r.UnknownOctets)
	c.TrailingOctets += uint64(r.TrailingOctets)
	return err
}

// Identify tells protocols apart by how datagrams begin: a version in 16 bits
// for NetFlow and IPFIX, in 32 for sFlow.
func Identify(b []byte) (flow.Source, error) {
	if len(b) < 4 {
		return flow.SourceUnknown, fmt.Errorf("%d octets: %w", len(b), ErrTruncated)
	}
	switch v := binary.BigEndian.Uint16(b); {
	case v == 5:
		return flow.SourceNetFlow5, nil
	case v == 9:
		return flow.SourceNetFlow9, nil
	case v == 10:
		return flow.SourceIPFIX, nil
	case v == 0 && binary.BigEndian.Uint16(b[2:]) == 5:
		return flow.SourceSFlow, nil
	default:
		return flow.SourceUnknown, fmt.Errorf("version %d: %w", v, ErrVersion)
	}
}

// enter makes the domain that the header names the current one.
func (m *message) enter(version uint16, id, seq uint32) (err error) {
	m.result.Domain, m.result.Sequence = id, seq
	m.domain, err = m.store.domain(m.exporter, domainKey{version, id}, m.received)
	return err
}

// exported takes over the time in the header.
func (m *message) exported(milliseconds int64) {
	m.exportMilliseconds = milliseconds
	m.result.Exported = time.UnixMilli(milliseconds).UTC()
}

// setBase fills in what all records of the message have in common.
func (m *message) setBase() {
	m.base = flow.Record{
		ReceivedMilliseconds: m.received,
		Exporter:             flow.AddrFrom(m.exporter.addr),
		ObservationDomainID:  m.result.Domain,
		Source:               m.source,
		Leg:                  flow.LegObserved,
	}
	interval := m.override
	if interval == 0 {
		interval = m.defaultInterval()
	}
	setSampling(&m.base, interval)
}

// fail keeps the first fault that does not keep the rest of the datagram from
// being read.
func (m *message) fail(err error) {
	if m.firstError == nil {
		m.firstError = err
	}
}
