package flow

import "math/bits"

// Totals adds up records. Octets and packets are scaled by the sampling
// interval; the raw counts stand beside them. Counts stop at their largest
// value instead of wrapping around, since exporters can send any.
type Totals struct {
	Records uint64 `json:"records"`
	// Flows counts records of flows that were not in the table.
	Flows          uint64 `json:"flows"`
	Octets         uint64 `json:"octets"`
	Packets        uint64 `json:"packets"`
	ReverseOctets  uint64 `json:"reverse_octets"`
	ReversePackets uint64 `json:"reverse_packets"`
	RawOctets      uint64 `json:"raw_octets"`
	RawPackets     uint64 `json:"raw_packets"`
}

// Add adds o to t.
func (t *Totals) Add(o *Totals) {
	t.Records = sum(t.Records, o.Records)
	t.Flows = sum(t.Flows, o.Flows)
	t.Octets = sum(t.Octets, o.Octets)
	t.Packets = sum(t.Packets, o.Packets)
	t.ReverseOctets = sum(t.ReverseOctets, o.ReverseOctets)
	t.ReversePackets = sum(t.ReversePackets, o.ReversePackets)
	t.RawOctets = sum(t.RawOctets, o.RawOctets)
	t.RawPackets = sum(t.RawPackets, o.RawPackets)
}

// addRecord adds one record.
func (t *Totals) addRecord(r *Record, isNew bool) {
	t.Records++
	if isNew {
		t.Flows++
	}
	n := r.SamplingPacketInterval
	t.Octets = sum(t.Octets, scale(r.OctetDeltaCount, 0, n))
	t.Packets = sum(t.Packets, scale(r.PacketDeltaCount, 0, n))
	t.ReverseOctets = sum(t.ReverseOctets, scale(r.ReverseOctetDeltaCount, 0, n))
	t.ReversePackets = sum(t.ReversePackets, scale(r.ReversePacketDeltaCount, 0, n))
	t.RawOctets = sum(t.RawOctets, scale(r.OctetDeltaCount, r.ReverseOctetDeltaCount, 1))
	t.RawPackets = sum(t.RawPackets, scale(r.PacketDeltaCount, r.ReversePacketDeltaCount, 1))
}

// sum adds without wrapping around.
func sum(a, b uint64) uint64 {
	s, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return ^uint64(0)
	}
	return s
}
