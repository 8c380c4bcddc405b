package decode

import (
	"encoding/binary"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// EncoderOptions say how an Encoder writes messages. Zero fields take the
// defaults.
type EncoderOptions struct {
	// ObservationDomainID is that of the messages. Records that came from an
	// exporter keep theirs as originalObservationDomainId.
	ObservationDomainID uint32
	// MaxOctets bounds a message. Default 1,400, which fits an Ethernet frame
	// under UDP and IPv6; at least 640, at most 65,535.
	MaxOctets int
	// TemplateInterval is how long until templates are sent again. Default 1
	// minute. Over TCP, once is enough: use a negative value, and Reset for
	// each connection.
	TemplateInterval time.Duration
	// Uniflow writes both directions of a flow as two records instead of one
	// (RFC 5103), for collectors that do not know reverse elements.
	Uniflow bool
}

// Encoder writes flow records as IPFIX messages (RFC 7011). It keeps the
// sequence number and knows when templates are due; sending is up to the
// caller, and a message that is not sent shows as a gap, as it should. Not
// safe for concurrent use.
type Encoder struct {
	options       EncoderOptions
	sequence      uint32
	templatesSent time.Time
	hasSent       bool

	pending    flow.Record // the other direction of the last record
	hasPending bool
}

// NewEncoder returns an Encoder.
func NewEncoder(o EncoderOptions) *Encoder {
	if o.MaxOctets == 0 {
		o.MaxOctets = 1400
	}
	o.MaxOctets = min(max(o.MaxOctets, minMessageOctets), 0xffff)
	if o.TemplateInterval == 0 {
		o.TemplateInterval = time.Minute
	}
	return &Encoder{options: o}
}

// minMessageOctets has room for the templates and a record.
const minMessageOctets = 640

// Reset begins a new transport session: templates are sent again and the
// sequence number starts at 0.
func (e *Encoder) Reset() {
	e.sequence, e.hasSent, e.hasPending = 0, false, false
}

// Sequence returns how many records were written, modulo 2^32.
func (e *Encoder) Sequence() uint32 { return e.sequence }

// AppendMessage appends one message to dst with as many of the records as fit,
// and returns how many that were. With templates due, they come first; a
// message may hold templates only. If there is nothing to say, dst is returned
// as it is. Calling it until all records are taken sends them all; in Uniflow
// mode the last of them may leave its other direction for the next call.
//
// It takes time linear in what it writes and allocates only to grow dst.
func (e *Encoder) AppendMessage(dst []byte, records []flow.Record, now time.Time) (message []byte, taken int) {
	due := e.templatesDue(now)
	if !due && len(records) == 0 && !e.hasPending {
		return dst, 0
	}
	start := len(dst)
	dst = append(dst, make([]byte, ipfixHeader)...)
	if due {
		dst = append(dst, encodedTemplates...)
		e.templatesSent, e.hasSent = now, true
	}
	w := setWriter{b: dst, end: start + e.options.MaxOctets}
	for e.hasPending || taken < len(records) {
		r := &e.pending
		if !e.hasPending {
			r = &records[taken]
		}
		if !w.record(r, e.options.Uniflow) {
			break
		}
		if e.hasPending {
			e.hasPending = false
			continue
		}
		taken++
		if e.options.Uniflow && hasReverse(r) {
			e.pending, e.hasPending = reversed(r), true
		}
	}
	w.close()
	dst = w.b
	h := dst[start:]
	binary.BigEndian.PutUint16(h, 10)
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)))
	binary.BigEndian.PutUint32(h[4:], uint32(now.Unix()))
	binary.BigEndian.PutUint32(h[8:], e.sequence)
	binary.BigEndian.PutUint32(h[12:], e.options.ObservationDomainID)
	e.sequence += uint32(w.records)
	return dst, taken
}

// Pending reports whether the other direction of a record waits for the next
// message (in Uniflow mode).
func (e *Encoder) Pending() bool { return e.hasPending }

func (e *Encoder) templatesDue(now time.Time) bool {
	if !e.hasSent {
		return true
	}
	return e.options.TemplateInterval > 0 && now.Sub(e.templatesSent) >= e.options.TemplateInterval
}

func hasReverse(r *flow.Record) bool {
	return r.ReverseOctetDeltaCount != 0 || r.ReversePacketDeltaCount != 0 || r.ReverseTCPControlBits != 0
}

// reversed returns the other direction of r as a record of its own.
func reversed(r *flow.Record) flow.Record {
	o := *r
	o.SourceAddress, o.DestinationAddress = r.DestinationAddress, r.SourceAddress
	o.SourceTransportPort, o.DestinationTransportPort = r.DestinationTransportPort, r.SourceTransportPort
	o.SourcePrefixLength, o.DestinationPrefixLength = r.DestinationPrefixLength, r.SourcePrefixLength
	o.SourceAS, o.DestinationAS = r.DestinationAS, r.SourceAS
	o.SourceCountry, o.DestinationCountry = r.DestinationCountry, r.SourceCountry
	o.IngressInterface, o.EgressInterface = r.EgressInterface, r.IngressInterface
	o.OctetDeltaCount, o.PacketDeltaCount, o.TCPControlBits = r.ReverseOctetDeltaCount, r.ReversePacketDeltaCount, r.ReverseTCPControlBits
	o.ReverseOctetDeltaCount, o.ReversePacketDeltaCount, o.ReverseTCPControlBits = 0, 0, 0
	switch r.BiflowDirection {
	case flow.BiflowInitiator:
		o.BiflowDirection = flow.BiflowReverseInitiator
	case flow.BiflowReverseInitiator:
		o.BiflowDirection = flow.BiflowInitiator
	}
	return o
}
