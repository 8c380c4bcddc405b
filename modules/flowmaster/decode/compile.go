package decode

// A program is what is left of a template once everything that a flow.Record
// has no place for is taken out: a short list of (where, how long, what to do
// with it), run for each record.
type program struct {
	ops   []op
	after after
	// yields is false when a record of this template could not say anything
	// about a flow: no address and no count.
	yields bool
}

// op moves one field into a record. For templates of fixed length, at is the
// offset of the field; otherwise ops are for consecutive fields and at is not
// used.
type op struct {
	code   opcode
	length uint16
	at     uint16
}

const opBytes = 6

// after is a set of things to do once a record's fields are in.
type after uint16

const (
	afterTimes    after = 1 << iota // make times out of uptimes, durations, or none
	afterSampler                    // look the sampler up by its ID
	afterSampling                   // work the interval out of the record's own fields
	afterICMP                       // put type and code together
)

// source says what a field can supply, and how good it is at it: of several
// fields that could fill the same place, the one with the lowest rank does.
type source struct {
	code opcode
	rank uint8
}

// ianaSources are the elements a flow.Record takes something from.
var ianaSources = map[uint16]source{
	1:   {opOctets, 0},
	231: {opOctets, 1}, // initiatorOctets, with 232 the other way
	85:  {opOctets, 2}, // octetTotalCount: for exporters that send a flow once
	352: {opOctets, 3}, // layer2OctetDeltaCount
	23:  {opOctets, 4}, // postOctetDeltaCount, of exporters that meter on egress only
	2:   {opPackets, 0},
	298: {opPackets, 1},
	86:  {opPackets, 2},
	24:  {opPackets, 4},
	232: {opReverseOctets, 1},
	299: {opReversePackets, 1},

	4:   {opProtocol, 0},
	5:   {opClassOfService, 0},
	6:   {opTCPFlags, 0},
	7:   {opSourcePort, 0},
	180: {opSourcePort, 1},
	182: {opSourcePort, 2},
	11:  {opDestinationPort, 0},
	181: {opDestinationPort, 1},
	183: {opDestinationPort, 2},
	32:  {opICMP, 0},
	139: {opICMP, 1},
	176: {opICMPType, 0},
	178: {opICMPType, 1},
	177: {opICMPCode, 0},
	179: {opICMPCode, 1},

	8:   {opSource4, 0},
	44:  {opSource4, 1},
	366: {opSource4, 2}, // staIPv4Address: the client of a wireless network
	12:  {opDestination4, 0},
	45:  {opDestination4, 1},
	27:  {opSource6, 0},
	170: {opSource6, 1},
	28:  {opDestination6, 0},
	169: {opDestination6, 1},
	9:   {opSourceLength, 0},
	29:  {opSourceLength, 1},
	13:  {opDestinationLength, 0},
	30:  {opDestinationLength, 1},

	10:  {opIngress, 0},
	252: {opIngress, 1},
	14:  {opEgress, 0},
	253: {opEgress, 1},
	16:  {opSourceAS, 0},
	17:  {opDestinationAS, 0},
	58:  {opVlan, 0},
	243: {opVlan, 1},
	61:  {opDirection, 0},
	136: {opEndReason, 0},
	239: {opBiflowDirection, 0},

	152: {opStartMilliseconds, 0},
	154: {opStartNTP, 1},
	156: {opStartNTP, 1},
	150: {opStartSeconds, 2},
	22:  {opStartUptime, 3},
	158: {opStartDelta, 4},
	153: {opEndMilliseconds, 0},
	155: {opEndNTP, 1},
	157: {opEndNTP, 1},
	151: {opEndSeconds, 2},
	21:  {opEndUptime, 3},
	159: {opEndDelta, 4},
	323: {opObservedMilliseconds, 0},
	324: {opObservedNTP, 1},
	325: {opObservedNTP, 1},
	322: {opObservedSeconds, 2},
	160: {opInitMilliseconds, 0},
	161: {opDurationMilliseconds, 0},
	162: {opDurationMicroseconds, 1},

	48:  {opSampler, 1},
	302: {opSampler, 0},
	34:  {opSamplingInterval, 1},
	50:  {opSamplingInterval, 2},
	305: {opSamplingInterval, 0},
	306: {opSamplingSpace, 0},
	309: {opSamplingSize, 0},
	310: {opSamplingPopulation, 0},

	313: {opIPHeader, 0},
	104: {opFrame, 1},
	315: {opFrame, 0},
}

// reverseSources are those of the reverse direction (RFC 5103).
var reverseSources = map[uint16]source{
	1:   {opReverseOctets, 0},
	231: {opReverseOctets, 3},
	85:  {opReverseOctets, 2},
	2:   {opReversePackets, 0},
	298: {opReversePackets, 3},
	86:  {opReversePackets, 2},
	6:   {opReverseTCPFlags, 0},
}

func (t *template) sourceOf(f templateField, ntop bool) (source, bool) {
	if f.scope || f.length == 0 {
		return source{}, false
	}
	var s source
	var ok bool
	switch {
	case f.enterprise == penIANA:
		s, ok = ianaSources[f.id]
		// nProbe's OUT_BYTES and OUT_PKTS are those of the other direction.
		if ntop && f.id == 23 {
			s = source{opReverseOctets, 4}
		} else if ntop && f.id == 24 {
			s = source{opReversePackets, 4}
		}
	case f.enterprise == penReverse:
		s, ok = reverseSources[f.id]
	case f.enterprise == penIxia && f.id == 176:
		s, ok = source{opReverseOctets, 4}, true
	case f.enterprise == penIxia && f.id == 177:
		s, ok = source{opReversePackets, 4}, true
	case f.enterprise == penCERT:
		// YAF tells the first packet's flags and those of all others apart.
		switch f.id {
		case 14, 15:
			s, ok = source{opTCPFlags, 1}, true
		case 14 | certReverseBit, 15 | certReverseBit:
			s, ok = source{opReverseTCPFlags, 1}, true
		}
	}
	return s, ok && s.code.accepts(f.length)
}

// compile works out the program of a template for flow records.
func compile(t *template) program {
	ntop := false
	for _, f := range t.fields {
		ntop = ntop || f.enterprise == penNtop || t.netflow9 && f.id >= ntopBase && f.id <= ntopEnd
	}
	const none = 255
	var best [opCount]uint8
	for i := range best {
		best[i] = none
	}
	for _, f := range t.fields {
		if s, ok := t.sourceOf(f, ntop); ok {
			slot := s.code.slot()
			best[slot] = min(best[slot], s.rank)
		}
	}
	var p program
	p.yields = best[opOctets] != none || best[opPackets] != none || best[opFrame] != none || best[opIPHeader] != none ||
		best[opSource4] != none || best[opSource6] != none
	either := best[opSource4] != none && best[opSource6] != none
	at := 0
	for _, f := range t.fields {
		code := opSkip
		if s, ok := t.sourceOf(f, ntop); ok && best[s.code.slot()] == s.rank {
			code = s.code
		}
		switch code {
		case opSource4, opSource6, opDestination4, opDestination6:
			if either {
				code = code.ifSet()
			}
		}
		code = code.sized(f.length)
		p.after |= code.after()
		switch {
		case !t.fixed:
			p.ops = append(p.ops, op{code: code, length: f.length})
		case code != opSkip:
			p.ops = append(p.ops, op{code: code, length: f.length, at: uint16(at)})
		}
		at += int(f.length)
	}
	if best[opStartMilliseconds] == none || best[opEndMilliseconds] == none {
		p.after |= afterTimes
	}
	return p
}
