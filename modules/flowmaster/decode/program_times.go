package decode

import (
	"math"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// milliseconds keeps a time inside what int64 arithmetic on times can bear:
// a hostile exporter may send any 64 bits.
func milliseconds(n uint64) int64 {
	return int64(min(n, math.MaxInt64/2))
}

// fromUptime turns a time since the exporter booted into Unix milliseconds.
// NetFlow gives the uptime in the same header as the time, and both wrap at
// 2^32 ms, so their difference is right across a wrap. IPFIX says when it
// booted elsewhere, if at all; afterTimes then does the rest.
func (m *message) fromUptime(v uint32) int64 {
	if m.source == flow.SourceIPFIX {
		m.scratch.hasUptime = true
		return int64(v)
	}
	return m.exportMilliseconds - int64(int32(m.uptime-v))
}

// applyTime handles the opcodes that are times. It returns false for others.
func (m *message) applyTime(code opcode, n uint64, r *flow.Record) bool {
	switch code {
	case opStartMilliseconds, opStartMilliseconds8:
		r.FlowStartMilliseconds = milliseconds(n)
	case opEndMilliseconds, opEndMilliseconds8:
		r.FlowEndMilliseconds = milliseconds(n)
	case opStartSeconds:
		r.FlowStartMilliseconds = fromSeconds(n)
	case opEndSeconds:
		r.FlowEndMilliseconds = fromSeconds(n)
	case opStartNTP:
		r.FlowStartMilliseconds = fromNTP(n)
	case opEndNTP:
		r.FlowEndMilliseconds = fromNTP(n)
	case opStartUptime, opStartUptime4:
		r.FlowStartMilliseconds = m.fromUptime(uint32(n))
	case opEndUptime, opEndUptime4:
		r.FlowEndMilliseconds = m.fromUptime(uint32(n))
	case opStartDelta:
		r.FlowStartMilliseconds = m.exportMilliseconds - milliseconds(n)/1000
	case opEndDelta:
		r.FlowEndMilliseconds = m.exportMilliseconds - milliseconds(n)/1000
	case opObservedMilliseconds:
		m.scratch.observed = milliseconds(n)
	case opObservedSeconds:
		m.scratch.observed = fromSeconds(n)
	case opObservedNTP:
		m.scratch.observed = fromNTP(n)
	case opInitMilliseconds:
		m.scratch.init = milliseconds(n)
	case opDurationMilliseconds:
		m.scratch.durationMilliseconds = milliseconds(n)
	case opDurationMicroseconds:
		m.scratch.durationMilliseconds = milliseconds(n) / 1000
	default:
		return false
	}
	return true
}

func fromSeconds(n uint64) int64 { return milliseconds(min(n, math.MaxInt64/2000) * 1000) }

func fromNTP(n uint64) int64 {
	if n == 0 {
		return 0
	}
	sec, ns := ntpTime(n)
	return sec*1000 + (ns+500)/1e6 // the end of a fraction may have been cut off
}

// finishTimes completes the times of a record from what else is known: the
// boot time of the exporter, the duration of the flow, the time of the event
// that was observed, the time of export.
func (m *message) finishTimes(r *flow.Record) {
	s := &m.scratch
	if s.hasUptime {
		boot := s.init
		if boot == 0 {
			boot = m.domain.bootMilliseconds
		}
		if boot == 0 {
			// Nobody said when the exporter booted: take the flow as having
			// ended when it was exported.
			boot = m.exportMilliseconds - max(r.FlowStartMilliseconds, r.FlowEndMilliseconds)
		}
		if r.FlowStartMilliseconds != 0 {
			r.FlowStartMilliseconds += boot
		}
		if r.FlowEndMilliseconds != 0 {
			r.FlowEndMilliseconds += boot
		}
	}
	if r.FlowEndMilliseconds == 0 {
		switch {
		case s.observed != 0:
			r.FlowEndMilliseconds = s.observed
		case r.FlowStartMilliseconds != 0:
			r.FlowEndMilliseconds = r.FlowStartMilliseconds + s.durationMilliseconds
		default:
			r.FlowEndMilliseconds = m.exportMilliseconds
		}
	}
	if r.FlowStartMilliseconds == 0 {
		r.FlowStartMilliseconds = r.FlowEndMilliseconds - s.durationMilliseconds
	}
}
