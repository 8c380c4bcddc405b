package flow

// Record is one flow as reported once: by a connection of this process, or by
// an exporter. It is plain memory of fixed size and holds no pointers, so
// large slices of it cost the garbage collector nothing.
//
// Field names follow the IANA IPFIX information elements. Counts are as
// reported; ScaledOctets and ScaledPackets apply the sampling interval. A
// record may carry both directions (RFC 5103): then the Reverse fields count
// what went from destination to source.
type Record struct {
	// ReceivedMilliseconds is when this process learned of the flow, in
	// milliseconds since the Unix epoch by its own clock. Windows go by this
	// time, because exporters' clocks cannot be trusted.
	ReceivedMilliseconds int64
	// FlowStartMilliseconds and FlowEndMilliseconds are the exporter's times
	// of the first and last packet, in milliseconds since the Unix epoch.
	FlowStartMilliseconds int64
	FlowEndMilliseconds   int64

	OctetDeltaCount         uint64
	PacketDeltaCount        uint64
	ReverseOctetDeltaCount  uint64
	ReversePacketDeltaCount uint64

	SourceAddress      Addr
	DestinationAddress Addr
	// Exporter is the device the record came from; zero for our own.
	Exporter Addr

	ObservationDomainID uint32
	IngressInterface    uint32
	EgressInterface     uint32
	// SamplingPacketInterval is N where one in N packets was counted: 1 when
	// nothing was left out, 0 when that is not known.
	SamplingPacketInterval uint32
	SourceAS               uint32
	DestinationAS          uint32

	// Backend, Server and Pool name parts of the configuration through a
	// Names table; 0 means none.
	Backend NameID
	Server  NameID
	Pool    NameID

	SourceTransportPort      uint16
	DestinationTransportPort uint16
	VlanID                   uint16
	TCPControlBits           uint16
	ReverseTCPControlBits    uint16
	ICMPTypeCode             uint16
	SourceCountry            Country
	DestinationCountry       Country

	ProtocolIdentifier      uint8
	IPClassOfService        uint8
	SourcePrefixLength      uint8
	DestinationPrefixLength uint8

	FlowEndReason   EndReason
	BiflowDirection BiflowDirection
	FlowDirection   Direction
	Source          Source
	Leg             Leg
	Exactness       Exactness
	BackendState    BackendState
}

// ScaledOctets estimates the octets of both directions before sampling: the
// counts times the sampling interval. It saturates instead of overflowing.
func (r *Record) ScaledOctets() uint64 {
	return scale(r.OctetDeltaCount, r.ReverseOctetDeltaCount, r.SamplingPacketInterval)
}

// ScaledPackets is ScaledOctets for packets.
func (r *Record) ScaledPackets() uint64 {
	return scale(r.PacketDeltaCount, r.ReversePacketDeltaCount, r.SamplingPacketInterval)
}

func scale(forward, reverse uint64, interval uint32) uint64 {
	sum := forward + reverse
	if sum < forward {
		return ^uint64(0)
	}
	if interval <= 1 {
		return sum
	}
	if sum > ^uint64(0)/uint64(interval) {
		return ^uint64(0)
	}
	return sum * uint64(interval)
}

// NameID stands for a configured name in a Names table. 0 is no name.
type NameID uint32

// Country is an ISO 3166-1 alpha-2 code, two ASCII letters, or two zero bytes
// when it is not known.
type Country [2]byte

// String returns the two letters, or "".
func (c Country) String() string {
	if c == (Country{}) {
		return ""
	}
	return string(c[:])
}
