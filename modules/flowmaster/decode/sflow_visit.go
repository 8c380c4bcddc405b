package decode

import "encoding/binary"

// addIANA appends a field under the name and type of an IANA element.
func (m *message) addIANA(id uint16, raw []byte) {
	if raw == nil {
		return
	}
	e := ianaElements[id]
	m.data.Fields = append(m.data.Fields, Field{Name: e.Name, ID: id, Value: Value{Type: e.Type, Raw: raw}})
}

func (m *message) addNumber(id uint16, n uint64) {
	m.data.Fields = append(m.data.Fields, Field{Name: ianaElements[id].Name, ID: id, Value: number(n)})
}

// visitFlowSample shows a flow sample in IPFIX terms, by the names IANA has for them.
func (m *message) visitFlowSample(s *flowSample) {
	m.beginSFlow(FlowRecord)
	m.addNumber(34, uint64(s.samplingRate))
	m.addNumber(10, uint64(s.input))
	m.addNumber(14, uint64(s.output))
	m.addNumber(2, 1)
	m.addNumber(1, uint64(s.header.octets(s.frameOctets)))
	if s.discarded {
		m.data.Fields = append(m.data.Fields, Field{Name: "sflowDiscardReason", Value: number(uint64(s.discardReason))})
	}
	m.visitPacket(s)
}

// beginSFlow is begin for sFlow, whose header says more.
func (m *message) beginSFlow(kind RecordKind) {
	m.begin(kind)
	switch len(m.agent) {
	case 4:
		m.addIANA(130, m.agent) // exporterIPv4Address
	case 16:
		m.addIANA(131, m.agent)
	}
}

// visitPacket shows what the records of a sample say about its packet.
func (m *message) visitPacket(s *flowSample) {
	h := &s.header
	if s.hasFrame {
		m.addNumber(312, uint64(s.frameOctets)) // dataLinkFrameSize
	}
	if h.hasEthernet {
		m.addIANA(56, h.sourceMAC)
		m.addIANA(80, h.destinationMAC)
		m.addNumber(256, uint64(h.etherType))
	}
	switch {
	case h.hasVlan:
		m.addNumber(58, uint64(h.vlan))
	case s.hasSwitch:
		m.addNumber(58, uint64(s.sourceVlan))
	}
	if s.hasSwitch {
		m.addNumber(59, uint64(s.destinationVlan)) // postVlanId
	}
	if h.ipVersion != 0 {
		m.visitIP(s)
	}
	if s.hasRouter {
		if len(s.nextHop) == 4 {
			m.addIANA(15, s.nextHop)
		} else {
			m.addIANA(62, s.nextHop)
		}
	}
	if s.hasGateway {
		m.addNumber(16, uint64(s.sourceAS))
		m.addNumber(17, uint64(s.destinationAS))
		if len(s.bgpNextHop) == 4 {
			m.addIANA(18, s.bgpNextHop)
		} else {
			m.addIANA(63, s.bgpNextHop)
		}
		m.addNumber(128, uint64(s.nextAS)) // bgpNextAdjacentAsNumber
		m.addNumber(129, uint64(s.previousAS))
	}
	m.visitExtended(s)
	if s.raw != nil {
		m.addIANA(s.section, s.raw)
	}
	m.visit(&m.data)
}

func (m *message) visitIP(s *flowSample) {
	h := &s.header
	source, destination, sourceLength, destinationLength := uint16(8), uint16(12), uint16(9), uint16(13)
	if h.ipVersion == 6 {
		source, destination, sourceLength, destinationLength = 27, 28, 29, 30
	}
	m.addNumber(60, uint64(h.ipVersion))
	m.addIANA(source, h.sourceAddress)
	m.addIANA(destination, h.destinationAddress)
	if s.hasRouter {
		m.addNumber(sourceLength, uint64(s.sourcePrefixLength))
		m.addNumber(destinationLength, uint64(s.destinationPrefixLen))
	}
	m.addNumber(4, uint64(h.protocol))
	m.addNumber(5, uint64(h.trafficClass))
	if h.timeToLive != 0 {
		m.addNumber(192, uint64(h.timeToLive))
	}
	m.addIANA(7, h.sourcePort)
	m.addIANA(11, h.destinationPort)
	if h.tcpFlags != nil {
		m.addNumber(6, uint64(binary.BigEndian.Uint16(h.tcpFlags)&0x0fff))
	}
	if h.icmp != nil {
		id := uint16(32)
		if h.ipVersion == 6 {
			id = 139
		}
		m.addIANA(id, h.icmp)
	}
}

// sflowCounters decodes a counter sample. It makes no flow record.
func (m *message) sflowCounters(r *reader, expanded bool) error {
	r.uint32() // sequence number
	r.uint32() // source
	if expanded {
		r.uint32()
	}
	records := int(r.uint32())
	if r.err != nil {
		return r.err
	}
	m.result.CounterSamples++
	if m.visit == nil {
		return nil
	}
	m.beginSFlow(CounterRecord)
	for range records {
		format := r.uint32()
		body := r.sized()
		if r.err != nil {
			m.fail(r.err)
			break
		}
		m.counterRecord(format, body)
	}
	m.visit(&m.data)
	return nil
}

// counterRecord shows counters of a known layout by name and all others as octets.
func (m *message) counterRecord(format uint32, b []byte) {
	x := sflowRecord{format, b}
	if fields := counterRecords[format]; fields != nil {
		m.structure(x, fields)
	} else {
		m.unknownRecord("counters", x)
	}
}
