package conninfo

import "time"

// Field names a group of values that came into Linux at one time.
type Field uint16

// The groups, with the kernel that has them first.
const (
	// HasRTT is on every Linux: State, RTT, RTTVar, Window, Unacked, Lost, TotalRetrans.
	HasRTT Field = 1 << iota
	// HasOctets: Acked, Received (4.1).
	HasOctets
	// HasSegments: SegsOut, SegsIn (4.2).
	HasSegments
	// HasMinRTT: MinRTT, NotSent, DataSegsOut, DataSegsIn (4.6).
	HasMinRTT
	// HasRate: DeliveryRate (4.9).
	HasRate
	// HasLimits: Busy, RwndLimited, SndbufLimited (4.10).
	HasLimits
	// HasECN: Delivered, DeliveredCE (4.18).
	HasECN
	// HasSent: BytesSent, BytesRetrans, DSACKs (4.19). With it Sent is exact.
	HasSent
	// HasOutOfOrder: OutOfOrder (5.4).
	HasOutOfOrder
)

// State is the state of a connection as Linux numbers it.
type State uint8

// The states that tell something about how a connection ends.
const (
	Established State = 1
	FinWait1    State = 4
	FinWait2    State = 5
	TimeWait    State = 6
	Closed      State = 7 // reset, timed out, or over on both sides
	CloseWait   State = 8 // the peer has ended its side
	LastAck     State = 9
	Closing     State = 11
)

// Sample is one reading. Counts run from the beginning of the connection.
type Sample struct {
	// Fields says which values there are; the others are zero and mean nothing.
	Fields Field
	State  State

	// Sent is how many octets the process gave the connection to send, Received how many
	// of the peer's have come in, read or not. Retransmissions, SYN and FIN do not count.
	Sent, Received uint64
	// Acked is what the peer has acknowledged; here a SYN and a FIN count as an octet each.
	Acked uint64

	// BytesSent counts every octet of data that went out, again and again if need be;
	// BytesRetrans those that went out again.
	BytesSent, BytesRetrans uint64

	// SegsOut and SegsIn count packets of any kind; DataSegsOut and DataSegsIn those with data.
	SegsOut, SegsIn, DataSegsOut, DataSegsIn uint32
	// TotalRetrans counts segments that went out again, DSACKs those of them that the
	// peer says it had already.
	TotalRetrans, DSACKs uint32
	// OutOfOrder counts segments that came in after a gap: a sign of loss on the way in.
	OutOfOrder uint32
	// Delivered counts segments that arrived, DeliveredCE those that a router marked.
	Delivered, DeliveredCE uint32

	// RTT is the smoothed round-trip time to the next TCP hop, RTTVar its deviation,
	// MinRTT the least of some minutes. RTT is 0 until there is a measurement.
	RTT, RTTVar, MinRTT time.Duration

	// DeliveryRate is how fast data last arrived, in octets per second.
	DeliveryRate uint64
	// Busy is how long there was something to send. During RwndLimited of it the peer's
	// window held it up, during SndbufLimited the own buffer.
	Busy, RwndLimited, SndbufLimited time.Duration

	// Window is the congestion window, Unacked what is under way, Lost what is taken to
	// be lost, in segments. NotSent is what waits to be sent, in octets.
	Window, Unacked, Lost, NotSent uint32
}

// Has reports whether the sample has all of the fields.
func (s *Sample) Has(f Field) bool { return s.Fields&f == f }

// Since returns what was counted between before and s: the counts are differences, the
// rest is as in s. A count that has gone back, which a kernel does not do, gives 0.
func (s *Sample) Since(before *Sample) Sample {
	d := *s
	less(&d.Sent, before.Sent)
	less(&d.Received, before.Received)
	less(&d.Acked, before.Acked)
	less(&d.BytesSent, before.BytesSent)
	less(&d.BytesRetrans, before.BytesRetrans)
	less(&d.SegsOut, before.SegsOut)
	less(&d.SegsIn, before.SegsIn)
	less(&d.DataSegsOut, before.DataSegsOut)
	less(&d.DataSegsIn, before.DataSegsIn)
	less(&d.TotalRetrans, before.TotalRetrans)
	less(&d.DSACKs, before.DSACKs)
	less(&d.OutOfOrder, before.OutOfOrder)
	less(&d.Delivered, before.Delivered)
	less(&d.DeliveredCE, before.DeliveredCE)
	less(&d.Busy, before.Busy)
	less(&d.RwndLimited, before.RwndLimited)
	less(&d.SndbufLimited, before.SndbufLimited)
	return d
}

func less[T uint32 | uint64 | time.Duration](v *T, by T) {
	if *v < by {
		*v = 0
		return
	}
	*v -= by
}

// open reports whether octets of the peer can still come in.
func (s State) open() bool { return s == Established || s == FinWait1 || s == FinWait2 }

// peerEnded reports whether the peer's FIN has come in, as far as the state tells: after
// Closed it may have or not.
func (s State) peerEnded() bool {
	return s == CloseWait || s == LastAck || s == Closing || s == TimeWait
}
