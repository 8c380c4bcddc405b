package flow

import "unsafe"

// entryBytes is the size of an entry, for MemoryBytes.
const entryBytes = int64(unsafe.Sizeof(entry{}))

// Sweep looks at the next n entries (all of them in turn over several calls)
// and appends to dst the flows that are over: ended, or idle for the idle
// timeout. They are removed. Flows that have been going on for the active
// timeout are appended too, and their counts begin anew.
func (t *Table) Sweep(dst []Record, now int64, n int) []Record {
	for range min(n, t.size) {
		t.sweepHand++
		if t.sweepHand >= t.size {
			t.sweepHand = 0
		}
		e := t.entry(t.sweepHand)
		if !e.used {
			continue
		}
		r := &e.record
		switch {
		case ended(r.FlowEndReason):
			dst = append(dst, *r)
			t.remove(t.sweepHand)
		case now-r.ReceivedMilliseconds >= t.idle:
			r.FlowEndReason = EndIdleTimeout
			dst = append(dst, *r)
			t.remove(t.sweepHand)
		case now-e.since >= t.activeFor:
			e.since = now
			if r.counted() {
				r.FlowEndReason = EndActiveTimeout
				dst = append(dst, *r)
				r.startAnew()
			}
		}
	}
	return dst
}

// SweepAll is Sweep over all entries.
func (t *Table) SweepAll(dst []Record, now int64) []Record { return t.Sweep(dst, now, t.size) }

// ended reports whether the exporter says that no more is to come.
func ended(reason EndReason) bool {
	return reason == EndOfFlow || reason == EndIdleTimeout || reason == EndForced || reason == EndLackOfResources
}

func (r *Record) counted() bool {
	return r.OctetDeltaCount|r.PacketDeltaCount|r.ReverseOctetDeltaCount|r.ReversePacketDeltaCount != 0
}

// startAnew clears the counts of a flow that was reported and goes on.
func (r *Record) startAnew() {
	r.OctetDeltaCount, r.PacketDeltaCount, r.ReverseOctetDeltaCount, r.ReversePacketDeltaCount = 0, 0, 0, 0
	r.TCPControlBits, r.ReverseTCPControlBits = 0, 0
	r.FlowStartMilliseconds = r.FlowEndMilliseconds
	r.FlowEndReason = EndUnknown
}

// AppendFlows appends up to limit active flows for which keep is true to dst.
// keep may be nil.
func (t *Table) AppendFlows(dst []Record, limit int, keep func(*Record) bool) []Record {
	for n := range t.size {
		if limit <= 0 {
			break
		}
		if e := t.entry(n); e.used && (keep == nil || keep(&e.record)) {
			dst = append(dst, e.record)
			limit--
		}
	}
	return dst
}
