package decode

// opcode says where a field goes in a flow.Record. The first group names
// places and takes numbers of any length from 1 to 8 octets; the second group
// are the same for the lengths that exporters nearly always use.
type opcode uint8

const (
	opSkip opcode = iota
	opOctets
	opPackets
	opReverseOctets
	opReversePackets
	opProtocol
	opClassOfService
	opTCPFlags
	opReverseTCPFlags
	opSourcePort
	opDestinationPort
	opICMP
	opICMPType
	opICMPCode
	opSource4
	opSource6
	opDestination4
	opDestination6
	opSource4IfSet
	opSource6IfSet
	opDestination4IfSet
	opDestination6IfSet
	opSourceLength
	opDestinationLength
	opIngress
	opEgress
	opSourceAS
	opDestinationAS
	opVlan
	opDirection
	opEndReason
	opBiflowDirection
	opStartMilliseconds
	opStartNTP
	opStartSeconds
	opStartUptime
	opStartDelta
	opEndMilliseconds
	opEndNTP
	opEndSeconds
	opEndUptime
	opEndDelta
	opObservedMilliseconds
	opObservedNTP
	opObservedSeconds
	opInitMilliseconds
	opDurationMilliseconds
	opDurationMicroseconds
	opSampler
	opSamplingInterval
	opSamplingSpace
	opSamplingSize
	opSamplingPopulation
	opIPHeader
	opFrame

	opOctets4
	opOctets8
	opPackets4
	opPackets8
	opProtocol1
	opClassOfService1
	opTCPFlags1
	opTCPFlags2
	opSourcePort2
	opDestinationPort2
	opIngress2
	opIngress4
	opEgress2
	opEgress4
	opSourceAS4
	opDestinationAS4
	opSourceLength1
	opDestinationLength1
	opVlan2
	opDirection1
	opEndReason1
	opStartUptime4
	opEndUptime4
	opStartMilliseconds8
	opEndMilliseconds8

	opCount
)

var sizedOps = map[opcode]map[uint16]opcode{
	opOctets:            {4: opOctets4, 8: opOctets8},
	opPackets:           {4: opPackets4, 8: opPackets8},
	opProtocol:          {1: opProtocol1},
	opClassOfService:    {1: opClassOfService1},
	opTCPFlags:          {1: opTCPFlags1, 2: opTCPFlags2},
	opSourcePort:        {2: opSourcePort2},
	opDestinationPort:   {2: opDestinationPort2},
	opIngress:           {2: opIngress2, 4: opIngress4},
	opEgress:            {2: opEgress2, 4: opEgress4},
	opSourceAS:          {4: opSourceAS4},
	opDestinationAS:     {4: opDestinationAS4},
	opSourceLength:      {1: opSourceLength1},
	opDestinationLength: {1: opDestinationLength1},
	opVlan:              {2: opVlan2},
	opDirection:         {1: opDirection1},
	opEndReason:         {1: opEndReason1},
	opStartUptime:       {4: opStartUptime4},
	opEndUptime:         {4: opEndUptime4},
	opStartMilliseconds: {8: opStartMilliseconds8},
	opEndMilliseconds:   {8: opEndMilliseconds8},
}

// sized returns the form of c for fields of that length, if there is one.
func (c opcode) sized(length uint16) opcode {
	if s, ok := sizedOps[c][length]; ok {
		return s
	}
	return c
}

// ifSet returns the form of an address opcode that leaves the record alone
// when the field is all zero: some exporters put both the IPv4 and the IPv6
// addresses into one template and fill one pair.
func (c opcode) ifSet() opcode { return c + opSource4IfSet - opSource4 }

// slot is the place c fills: the different encodings of one time share it.
func (c opcode) slot() opcode {
	switch c {
	case opStartNTP, opStartSeconds, opStartUptime, opStartDelta:
		return opStartMilliseconds
	case opEndNTP, opEndSeconds, opEndUptime, opEndDelta:
		return opEndMilliseconds
	case opObservedNTP, opObservedSeconds:
		return opObservedMilliseconds
	case opDurationMicroseconds:
		return opDurationMilliseconds
	}
	return c
}

// accepts reports whether c can read a field of that length.
func (c opcode) accepts(length uint16) bool {
	switch c {
	case opSource4, opDestination4:
		return length == 4
	case opSource6, opDestination6:
		return length == 16
	case opStartNTP, opEndNTP, opObservedNTP:
		return length == 8
	case opFrame, opIPHeader:
		return true
	}
	return length <= 8
}

// after is what c needs done once the record's fields are in.
func (c opcode) after() after {
	switch c {
	case opStartUptime, opEndUptime, opStartUptime4, opEndUptime4,
		opInitMilliseconds, opDurationMilliseconds, opDurationMicroseconds:
		return afterTimes
	case opSampler:
		return afterSampler
	case opSamplingInterval, opSamplingSpace, opSamplingSize, opSamplingPopulation:
		return afterSampling
	case opICMPType, opICMPCode:
		return afterICMP
	}
	return 0
}
