package decode

import "fmt"

// sflowDiscarded decodes a packet that the agent's device discarded (sflow.org,
// "sFlow Dropped Packet Notification Structures", 2020). It is shown, and makes
// no flow record: what was discarded is no traffic.
func (m *message) sflowDiscarded(r *reader) error {
	s := &m.sample
	s.reset()
	r.uint32() // sequence number
	r.uint32() // class and index of the data source
	r.uint32()
	drops := r.uint32()
	s.input, s.output = r.uint32(), r.uint32()
	reason, records := r.uint32(), int(r.uint32())
	if records > len(r.b)/8 {
		r.short(records * 8)
	}
	for range records {
		format := r.uint32()
		body := r.sized()
		if r.err != nil {
			break
		}
		if m.visit != nil && !isRead(format) {
			s.others = append(s.others, sflowRecord{format, body})
		}
		if err := s.read(format, &reader{b: body}); err != nil {
			m.fail(fmt.Errorf("record of format %d: %w", format, err))
		}
	}
	if r.err != nil {
		return r.err
	}
	if err := m.countRecord(&m.result.DiscardedPackets); err != nil || m.visit == nil {
		return err
	}
	m.beginSFlow(FlowRecord)
	m.addNumber(10, uint64(s.input))
	m.addNumber(14, uint64(s.output))
	m.addNumber(133, 1) // droppedPacketDeltaCount
	m.data.Fields = append(m.data.Fields,
		Field{Name: "sflowDiscardReason", Value: number(uint64(reason))},
		Field{Name: "sflowDiscardedUnsampled", Value: number(uint64(drops))})
	m.visitPacket(s)
	return nil
}
