package decode

import (
	"encoding/binary"
	"math"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// samplers remembers what sampling an exporter announced in options records:
// one interval for each sampler ID, and one for records that name none.
type samplers struct {
	byID map[uint64]uint32
	any  uint32 // 0: nothing announced
}

// set remembers an interval. It returns false when there is no more room.
func (s *samplers) set(id uint64, hasID bool, interval uint32, limit int) bool {
	if !hasID {
		s.any = interval
		return true
	}
	if _, known := s.byID[id]; !known {
		if len(s.byID) >= limit {
			return false
		}
		if s.byID == nil {
			s.byID = make(map[uint64]uint32)
		}
	}
	s.byID[id] = interval
	return true
}

// only returns the interval of records that name no sampler: what was
// announced for them, or else that of the one sampler there is.
func (s *samplers) only() uint32 {
	if s.any != 0 || len(s.byID) != 1 {
		return s.any
	}
	for _, interval := range s.byID {
		return interval
	}
	return 0
}

// setSampling writes an interval into r together with what it means for how
// exact r is. 0 says that it is not known.
func setSampling(r *flow.Record, interval uint32) {
	r.SamplingPacketInterval = interval
	switch interval {
	case 0:
		r.Exactness = flow.Estimated
	case 1:
		r.Exactness = flow.Exact
	default:
		r.Exactness = flow.Sampled
	}
}

// interval works N of "one in N packets" out of the ways exporters say it:
// a plain interval, an interval and the space after it (RFC 5476), or a
// sample and its population. 0 means that none of them was said.
func (s *scratch) interval() uint32 {
	var n uint64
	switch {
	case s.sampled > 0 && s.sampling > 0:
		n = s.sampling / s.sampled
	case s.samplingSpace > 0:
		taken := max(s.samplingInterval, 1)
		n = (min(s.samplingSpace, math.MaxInt64) + min(taken, math.MaxInt64)) / taken
	default:
		n = s.samplingInterval
	}
	return uint32(min(n, math.MaxUint32))
}

// samplerInterval looks up a sampler where the record was, and then anywhere
// on the exporter: some announce samplers in another observation domain.
func (m *message) samplerInterval(id uint64) uint32 {
	if n, ok := m.domain.samplers.byID[id]; ok {
		return n
	}
	if n, ok := m.exporter.samplers.byID[id]; ok {
		return n
	}
	return m.defaultInterval()
}

func (m *message) defaultInterval() uint32 {
	if n := m.domain.samplers.only(); n != 0 {
		return n
	}
	return m.exporter.samplers.only()
}

// learn takes from an options record what later flow records need: sampling
// intervals and the time the exporter booted.
func (m *message) learn(t *template, b []byte) {
	var s scratch
	var boot uint64
	n := 0
	for i := range t.fields {
		f := &t.fields[i]
		start, end, err := fieldSpan(b, n, f.length)
		if err != nil {
			return
		}
		n = end
		v := b[start:end]
		if f.enterprise != penIANA || len(v) == 0 || len(v) > 8 || f.scope && t.netflow9 {
			continue
		}
		switch f.id {
		case 48, 302:
			s.sampler, s.hasSampler = beUint(v), true
		case 34, 50, 305:
			s.samplingInterval = beUint(v)
		case 306:
			s.samplingSpace = beUint(v)
		case 309:
			s.sampled = beUint(v)
		case 310:
			s.sampling = beUint(v)
		case 311:
			if len(v) != 8 {
				continue
			}
			if p := math.Float64frombits(binary.BigEndian.Uint64(v)); p > 0 && p <= 1 {
				s.samplingInterval = uint64(math.Round(min(1/p, math.MaxUint32)))
			}
		case 160:
			boot = beUint(v)
		}
	}
	if boot != 0 {
		m.domain.bootMilliseconds = milliseconds(boot)
	}
	interval := s.interval()
	if interval == 0 {
		return
	}
	limit := m.limits.Samplers
	ok := m.domain.samplers.set(s.sampler, s.hasSampler, interval, limit)
	if !m.exporter.samplers.set(s.sampler, s.hasSampler, interval, limit) || !ok {
		m.exporter.counters.SamplersRefused++
	}
	m.setBase()
}
