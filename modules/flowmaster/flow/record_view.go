package flow

import (
	"net/netip"
	"time"
)

// RecordView is a Record for people: as JSON, under IANA names. What was not
// reported is left out.
type RecordView struct {
	Received time.Time `json:"received"`
	Source   string    `json:"source"`
	Leg      string    `json:"leg"`
	Exporter string    `json:"exporter,omitempty"`
	Pool     string    `json:"pool,omitempty"`
	Backend  string    `json:"backend,omitempty"`
	Server   string    `json:"server,omitempty"`
	// BackendState is what the balancer thought of the backend.
	BackendState string `json:"backend_state,omitempty"`
	Exactness    string `json:"exactness"`

	SourceIPv4Address        netip.Addr `json:"sourceIPv4Address,omitzero"`
	SourceIPv6Address        netip.Addr `json:"sourceIPv6Address,omitzero"`
	DestinationIPv4Address   netip.Addr `json:"destinationIPv4Address,omitzero"`
	DestinationIPv6Address   netip.Addr `json:"destinationIPv6Address,omitzero"`
	SourceTransportPort      uint16     `json:"sourceTransportPort,omitempty"`
	DestinationTransportPort uint16     `json:"destinationTransportPort,omitempty"`
	ProtocolIdentifier       uint8      `json:"protocolIdentifier"`
	IPClassOfService         uint8      `json:"ipClassOfService,omitempty"`
	TCPControlBits           uint16     `json:"tcpControlBits,omitempty"`
	ReverseTCPControlBits    uint16     `json:"reverseTcpControlBits,omitempty"`
	ICMPTypeCode             uint16     `json:"icmpTypeCode,omitempty"`
	VlanID                   uint16     `json:"vlanId,omitempty"`
	IngressInterface         uint32     `json:"ingressInterface,omitempty"`
	EgressInterface          uint32     `json:"egressInterface,omitempty"`
	ObservationDomainID      uint32     `json:"observationDomainId,omitempty"`
	SourceAS                 uint32     `json:"bgpSourceAsNumber,omitempty"`
	DestinationAS            uint32     `json:"bgpDestinationAsNumber,omitempty"`
	SourceCountry            string     `json:"source_country,omitempty"`
	DestinationCountry       string     `json:"destination_country,omitempty"`

	FlowStartMilliseconds time.Time `json:"flowStartMilliseconds"`
	FlowEndMilliseconds   time.Time `json:"flowEndMilliseconds"`
	FlowEndReason         string    `json:"flowEndReason,omitempty"`

	OctetDeltaCount         uint64 `json:"octetDeltaCount"`
	PacketDeltaCount        uint64 `json:"packetDeltaCount"`
	ReverseOctetDeltaCount  uint64 `json:"reverseOctetDeltaCount"`
	ReversePacketDeltaCount uint64 `json:"reversePacketDeltaCount"`
	SamplingInterval        uint32 `json:"samplingInterval"`
	// ScaledOctets and ScaledPackets are both directions before sampling.
	ScaledOctets  uint64 `json:"scaled_octets"`
	ScaledPackets uint64 `json:"scaled_packets"`
}

// View returns r for people. names may be nil.
func (r *Record) View(names *Names) RecordView {
	v := RecordView{
		Received: time.UnixMilli(r.ReceivedMilliseconds).UTC(), Source: r.Source.String(), Leg: r.Leg.String(),
		Exporter: r.Exporter.String(), Exactness: r.Exactness.String(),
		SourceTransportPort: r.SourceTransportPort, DestinationTransportPort: r.DestinationTransportPort,
		ProtocolIdentifier: r.ProtocolIdentifier, IPClassOfService: r.IPClassOfService,
		TCPControlBits: r.TCPControlBits, ReverseTCPControlBits: r.ReverseTCPControlBits, ICMPTypeCode: r.ICMPTypeCode,
		VlanID: r.VlanID, IngressInterface: r.IngressInterface, EgressInterface: r.EgressInterface,
		ObservationDomainID: r.ObservationDomainID, SourceAS: r.SourceAS, DestinationAS: r.DestinationAS,
		SourceCountry: r.SourceCountry.String(), DestinationCountry: r.DestinationCountry.String(),
		FlowStartMilliseconds: viewTime(r.FlowStartMilliseconds), FlowEndMilliseconds: viewTime(r.FlowEndMilliseconds),
		OctetDeltaCount: r.OctetDeltaCount, PacketDeltaCount: r.PacketDeltaCount,
		ReverseOctetDeltaCount: r.ReverseOctetDeltaCount, ReversePacketDeltaCount: r.ReversePacketDeltaCount,
		SamplingInterval: r.SamplingPacketInterval, ScaledOctets: r.ScaledOctets(), ScaledPackets: r.ScaledPackets(),
	}
	if names != nil {
		v.Pool, v.Backend, v.Server = names.Name(r.Pool), names.Name(r.Backend), names.Name(r.Server)
	}
	if r.BackendState != BackendStateUnknown {
		v.BackendState = r.BackendState.String()
	}
	if r.FlowEndReason != EndUnknown {
		v.FlowEndReason = r.FlowEndReason.String()
	}
	v.SourceIPv4Address, v.SourceIPv6Address = viewAddr(r.SourceAddress)
	v.DestinationIPv4Address, v.DestinationIPv6Address = viewAddr(r.DestinationAddress)
	return v
}

func viewAddr(a Addr) (v4, v6 netip.Addr) {
	if a.Is4() {
		return a.Netip(), netip.Addr{}
	}
	return netip.Addr{}, a.Netip()
}

// viewTime keeps times of hostile exporters inside the years that RFC 3339 can
// write.
func viewTime(ms int64) time.Time {
	const year10000 = 253_402_300_800_000
	return time.UnixMilli(max(0, min(ms, year10000-1))).UTC()
}
