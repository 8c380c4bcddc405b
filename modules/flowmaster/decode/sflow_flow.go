package decode

import (
	"encoding/binary"
	"fmt"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// The flow record formats of sflow.org that are read.
const (
	sflowRawHeader      = 1
	sflowEthernet       = 2
	sflowIPv4           = 3
	sflowIPv6           = 4
	sflowExtendedSwitch = 1001
	sflowExtendedRouter = 1002
	sflowExtendedGate   = 1003
)

// What a raw header begins with.
const (
	sflowHeaderEthernet = 1
	sflowHeaderPPP      = 7
	sflowHeaderIPv4     = 11
	sflowHeaderIPv6     = 12
	sflowHeaderMPLS     = 13
	sflowHeaderPOS      = 14
)

// flowSample is what one sFlow flow sample says about one packet.
type flowSample struct {
	samplingRate, input, output uint32

	header      packetHeader
	raw         []byte
	section     uint16 // the element that raw is
	frameOctets int
	hasFrame    bool

	// From the extended records.
	sourceVlan, destinationVlan              uint32
	sourcePrefixLength, destinationPrefixLen uint32
	nextHop                                  []byte
	sourceAS, destinationAS                  uint32
	hasSwitch, hasRouter, hasGateway         bool
	bgpNextHop                               []byte
	previousAS, nextAS                       uint32
	sampledPorts                             [4]byte
	sampledFlags                             [2]byte
	discarded                                bool
	discardReason                            uint32

	others []sflowRecord // of formats that are only shown; kept for Visit alone
}

// reset empties s but for the memory it has.
func (s *flowSample) reset() { *s = flowSample{others: s.others[:0]} }

// sflowFlow decodes a flow sample.
func (m *message) sflowFlow(r *reader, expanded bool) error {
	s := &m.sample
	s.reset()
	var sampler, drops uint32
	var records int
	if expanded {
		b := r.bytes(44)
		if b == nil {
			return r.err
		}
		// Class and index of the sampler, as the short form packs them.
		sampler = binary.BigEndian.Uint32(b[4:])<<24 ^ binary.BigEndian.Uint32(b[8:])
		s.samplingRate, drops = binary.BigEndian.Uint32(b[12:]), binary.BigEndian.Uint32(b[20:])
		if binary.BigEndian.Uint32(b[24:]) == 0 {
			s.input = binary.BigEndian.Uint32(b[28:])
		}
		switch binary.BigEndian.Uint32(b[32:]) {
		case 0:
			s.output = binary.BigEndian.Uint32(b[36:])
		case 1:
			s.discarded, s.discardReason = true, binary.BigEndian.Uint32(b[36:])
		}
		records = int(binary.BigEndian.Uint32(b[40:]))
	} else {
		b := r.bytes(32)
		if b == nil {
			return r.err
		}
		sampler = binary.BigEndian.Uint32(b[4:])
		s.samplingRate, drops = binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[16:])
		s.input, s.output = packedInterface(binary.BigEndian.Uint32(b[20:])), packedInterface(binary.BigEndian.Uint32(b[24:]))
		if output := binary.BigEndian.Uint32(b[24:]); output>>30 == 1 {
			s.discarded, s.discardReason = true, output&(1<<30-1)
		}
		records = int(binary.BigEndian.Uint32(b[28:]))
	}
	if records > len(r.b)/8 {
		return fmt.Errorf("%d records announced in %d octets: %w", records, len(r.b), ErrLength)
	}
	for range records {
		format := r.uint32()
		body := r.sized()
		if r.err != nil {
			return r.err
		}
		if m.visit != nil && !isRead(format) {
			s.others = append(s.others, sflowRecord{format, body})
		}
		if err := s.read(format, &reader{b: body}); err != nil {
			m.fail(fmt.Errorf("record of format %d: %w", format, err))
		}
	}
	m.agentDrops(sampler, drops)
	if err := m.countRecord(&m.result.Records); err != nil {
		return err
	}
	if m.visit != nil {
		m.visitFlowSample(s)
		return nil
	}
	m.out = append(m.out, m.base)
	s.fill(&m.out[len(m.out)-1], m)
	return nil
}

// agentDrops follows a sampler's count of packets that the agent had no room
// for. Samplers past the limit are not followed.
func (m *message) agentDrops(sampler, total uint32) {
	d := m.domain
	if d.agentDropsSeen == [2]uint32{sampler, total} {
		return // as in the sample before; spares the map
	}
	d.agentDropsSeen = [2]uint32{sampler, total}
	last, known := d.agentDrops[sampler]
	switch {
	case known:
		if grown := total - last; grown < 1<<31 {
			m.exporter.counters.AgentDrops += uint64(grown)
		}
	case len(d.agentDrops) >= m.limits.Samplers:
		m.exporter.counters.SamplersRefused++
		return
	case d.agentDrops == nil:
		d.agentDrops = make(map[uint32]uint32)
	}
	if !known || total != last {
		d.agentDrops[sampler] = total
	}
}

// packedInterface reads an interface of the short form. Anything but a single
// interface (a reason for discarding, or several) is 0.
func packedInterface(v uint32) uint32 {
	if v>>30 == 0 {
		return v
	}
	return 0
}

// read takes in one record of a sample. A record that ends early is used as
// far as it goes, and reported; its length was checked against the sample before.
func (s *flowSample) read(format uint32, r *reader) error {
	switch format {
	case sflowRawHeader:
		b := r.bytes(16) // protocol, frame length, octets stripped, header length
		if b == nil {
			return r.err
		}
		s.frameOctets, s.hasFrame = int(binary.BigEndian.Uint32(b[4:])), true
		s.raw = r.bytes(int(binary.BigEndian.Uint32(b[12:])))
		s.section = 315 // dataLinkFrameSection
		switch binary.BigEndian.Uint32(b) {
		case sflowHeaderEthernet:
			s.header.parseEthernet(s.raw)
		case sflowHeaderPPP, sflowHeaderPOS:
			s.header.parseLink(linkPPP, s.raw)
		case sflowHeaderIPv4, sflowHeaderIPv6:
			s.section = 313 // ipHeaderPacketSection
			s.header.parseIP(s.raw, 0)
		case sflowHeaderMPLS:
			s.section = 316 // mplsLabelStackSection
			s.header.parseMPLS(s.raw, 0)
		}
	case sflowEthernet:
		octets := int(r.uint32())
		source, destination := r.bytes(8), r.bytes(8)
		etherType := r.uint32()
		if r.err == nil && !s.header.hasEthernet {
			s.frameOctets, s.hasFrame = octets, true
			s.header.hasEthernet, s.header.etherType = true, uint16(etherType)
			s.header.sourceMAC, s.header.destinationMAC = source[:6], destination[:6]
		}
	case sflowIPv4:
		s.readIP(r, 4, 4)
	case sflowIPv6:
		s.readIP(r, 6, 16)
	case sflowExtendedSwitch:
		s.sourceVlan = r.uint32()
		r.uint32()
		s.destinationVlan = r.uint32()
		s.hasSwitch = r.err == nil
	case sflowExtendedRouter:
		s.nextHop = sflowAddress(r)
		s.sourcePrefixLength, s.destinationPrefixLen = r.uint32(), r.uint32()
		s.hasRouter = r.err == nil
	case sflowExtendedGate:
		s.readGateway(r)
	}
	return r.err
}

// readIP takes in a record that has the IP header's fields one by one. The
// header itself, if it is there too, goes first.
func (s *flowSample) readIP(r *reader, version uint8, octets int) {
	length, protocol := r.uint32(), r.uint32()
	source, destination := r.bytes(octets), r.bytes(octets)
	sourcePort, destinationPort, flags, class := r.uint32(), r.uint32(), r.uint32(), r.uint32()
	if r.err != nil || s.header.ipVersion != 0 {
		return
	}
	h := &s.header
	h.ipVersion, h.ipOctets = version, int(length)
	h.protocol, h.trafficClass = uint8(protocol), uint8(class)
	h.sourceAddress, h.destinationAddress = source, destination
	if h.protocol == protocolTCP || h.protocol == protocolUDP || h.protocol == protocolSCTP {
		binary.BigEndian.PutUint16(s.sampledPorts[0:], uint16(sourcePort))
		binary.BigEndian.PutUint16(s.sampledPorts[2:], uint16(destinationPort))
		h.sourcePort, h.destinationPort = s.sampledPorts[0:2], s.sampledPorts[2:4]
	}
	if h.protocol == protocolTCP {
		binary.BigEndian.PutUint16(s.sampledFlags[:], uint16(flags))
		h.tcpFlags = s.sampledFlags[:]
	}
}

// readGateway takes the AS numbers out of a BGP record: that of the source,
// and the last one of the path.
func (s *flowSample) readGateway(r *reader) {
	s.bgpNextHop = sflowAddress(r)
	r.uint32() // own AS
	s.sourceAS, s.previousAS = r.uint32(), r.uint32()
	segments := int(r.uint32())
	for range segments {
		r.uint32() // set or sequence
		n := int(r.uint32())
		if n > len(r.b)/4 {
			r.short(n * 4)
		}
		if r.err != nil {
			return
		}
		if path := r.bytes(n * 4); n > 0 {
			if s.nextAS == 0 {
				s.nextAS = binary.BigEndian.Uint32(path)
			}
			s.destinationAS = binary.BigEndian.Uint32(path[(n-1)*4:])
		}
	}
	s.hasGateway = r.err == nil
}

func sflowAddress(r *reader) []byte {
	switch r.uint32() {
	case 1:
		return r.bytes(4)
	case 2:
		return r.bytes(16)
	}
	return nil
}

// fill makes a flow record of the sample: one packet, of which the sampling
// rate says how many it stands for.
func (s *flowSample) fill(r *flow.Record, m *message) {
	s.header.fill(r)
	r.PacketDeltaCount = 1
	r.OctetDeltaCount = uint64(s.header.octets(s.frameOctets))
	r.FlowStartMilliseconds, r.FlowEndMilliseconds = m.received, m.received
	r.IngressInterface, r.EgressInterface = s.input, s.output
	if s.hasSwitch && !s.header.hasVlan {
		r.VlanID = uint16(s.sourceVlan)
	}
	if s.hasRouter {
		r.SourcePrefixLength = uint8(min(s.sourcePrefixLength, 128))
		r.DestinationPrefixLength = uint8(min(s.destinationPrefixLen, 128))
	}
	if s.hasGateway {
		r.SourceAS, r.DestinationAS = s.sourceAS, s.destinationAS
	}
	if m.override == 0 {
		setSampling(r, s.samplingRate)
	}
}
