package decode

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Store is what has to be remembered between datagrams: exporters, their
// templates, samplers and sequence numbers. One Store is shared by the
// Decoders of all workers, and can outlive them, so that a reload of the
// configuration does not lose templates that may not be sent again for half
// an hour. Safe for concurrent use.
//
// Exporters are told apart by address alone. Their source port may change
// with every restart, and some send templates and data from different ones.
type Store struct {
	limits atomic.Pointer[Limits]

	mu        sync.RWMutex
	exporters map[netip.Addr]*exporter
	nextPurge int64
	forgotten Counters

	templateBytes    atomic.Int64
	exportersRefused atomic.Int64
	domainsRefused   atomic.Int64
	undecodable      atomic.Int64
	panics           atomic.Int64
}

// exporter is one device. Its mutex covers everything in it and is held while
// one of its datagrams is decoded.
type exporter struct {
	addr netip.Addr

	mu        sync.Mutex
	gone      bool // forgotten by the Store; look it up again
	firstSeen int64
	lastSeen  int64
	domains   map[domainKey]*domain
	templates int
	samplers  samplers
	counters  Counters
	nextPurge int64

	rateSecond int64
	rateCount  int
}

// domainKey tells the numbering spaces of one exporter apart.
type domainKey struct {
	version uint16
	id      uint32
}

// domain is one observation domain of an exporter: the scope of template IDs
// and sequence numbers.
type domain struct {
	templates        map[uint16]*template
	samplers         samplers
	sequence         sequence
	bootMilliseconds int64
	agentDrops       map[uint32]uint32 // last told by each sFlow sampler
	agentDropsSeen   [2]uint32         // sampler and count last looked at
	lastSeen         int64
}

// purgeEvery is how often, in milliseconds, a full table is searched for
// entries past their time to live.
const purgeEvery = 1000

// NewStore returns an empty Store.
func NewStore(limits Limits) *Store {
	s := &Store{exporters: make(map[netip.Addr]*exporter)}
	s.SetLimits(limits)
	return s
}

// SetLimits replaces the limits. What is over a smaller limit stays until its
// time to live is over.
func (s *Store) SetLimits(limits Limits) {
	limits = limits.withDefaults()
	s.limits.Store(&limits)
}

// acquire returns the exporter at addr with its mutex held, making it known
// if there is room.
func (s *Store) acquire(addr netip.Addr, now int64) (*exporter, error) {
	for {
		s.mu.RLock()
		e := s.exporters[addr]
		s.mu.RUnlock()
		if e == nil {
			var err error
			if e, err = s.add(addr, now); err != nil {
				return nil, err
			}
		}
		e.mu.Lock()
		if !e.gone {
			e.lastSeen = now
			return e, nil
		}
		e.mu.Unlock()
	}
}

func (s *Store) add(addr netip.Addr, now int64) (*exporter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.exporters[addr]; e != nil {
		return e, nil
	}
	limits := s.limits.Load()
	if len(s.exporters) >= limits.Exporters {
		if now >= s.nextPurge {
			s.nextPurge = now + purgeEvery
			s.purge(now)
		}
		if len(s.exporters) >= limits.Exporters {
			s.exportersRefused.Add(1)
			return nil, fmt.Errorf("exporter %s: %d exporters are known already: %w", addr, len(s.exporters), ErrLimit)
		}
	}
	e := &exporter{addr: addr, firstSeen: now, lastSeen: now, domains: make(map[domainKey]*domain)}
	s.exporters[addr] = e
	return e, nil
}

// Expire forgets what is past its time to live at now. Call it now and then,
// for instance every minute; full tables also expire by themselves.
func (s *Store) Expire(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.purge(now.UnixMilli())
}

// purge forgets idle exporters, domains and templates. s.mu must be held.
func (s *Store) purge(now int64) {
	limits := s.limits.Load()
	for addr, e := range s.exporters {
		e.mu.Lock()
		for key, d := range e.domains {
			s.purgeDomain(e, key, d, now, limits)
		}
		if limits.expired(e.lastSeen, now) {
			e.gone = true
			delete(s.exporters, addr)
			s.forgotten.Add(&e.counters)
		}
		e.mu.Unlock()
	}
}

// purgeDomain forgets the idle templates of d, and d itself if it is idle.
// e.mu must be held.
func (s *Store) purgeDomain(e *exporter, key domainKey, d *domain, now int64, limits *Limits) {
	idle := limits.expired(d.lastSeen, now)
	for id, t := range d.templates {
		if idle || limits.expired(t.used, now) {
			s.dropTemplate(e, d, id)
		}
	}
	if idle {
		delete(e.domains, key)
	}
}

// domain returns the domain of e that key names. e.mu must be held.
func (s *Store) domain(e *exporter, key domainKey, now int64) (*domain, error) {
	d := e.domains[key]
	if d == nil {
		limits := s.limits.Load()
		if len(e.domains) >= limits.Domains && now >= e.nextPurge {
			e.nextPurge = now + purgeEvery
			for key, d := range e.domains {
				s.purgeDomain(e, key, d, now, limits)
			}
		}
		if len(e.domains) >= limits.Domains {
			s.domainsRefused.Add(1)
			return nil, fmt.Errorf("observation domain %d: %d of this exporter are known already: %w", key.id, len(e.domains), ErrLimit)
		}
		d = &domain{}
		e.domains[key] = d
	}
	d.lastSeen = now
	return d, nil
}

// putTemplate remembers t in place of what had its ID. e.mu must be held.
func (s *Store) putTemplate(e *exporter, d *domain, t *template) error {
	s.dropTemplate(e, d, t.id)
	limits := s.limits.Load()
	if e.templates >= limits.Templates {
		return fmt.Errorf("template %d: %d of this exporter are known already: %w", t.id, e.templates, ErrLimit)
	}
	if used := s.templateBytes.Add(t.cost()); used > limits.TemplateBytes {
		s.templateBytes.Add(-t.cost())
		return fmt.Errorf("template %d: templates take %d bytes already: %w", t.id, used-t.cost(), ErrLimit)
	}
	if d.templates == nil {
		d.templates = make(map[uint16]*template)
	}
	d.templates[t.id] = t
	e.templates++
	return nil
}

func (s *Store) dropTemplate(e *exporter, d *domain, id uint16) {
	if t := d.templates[id]; t != nil {
		s.templateBytes.Add(-t.cost())
		e.templates--
		delete(d.templates, id)
	}
}

// overRate reports whether one more datagram at now is too many. e.mu must be
// held.
func (e *exporter) overRate(now int64, limits *Limits) bool {
	if limits.DatagramsPerSecond <= 0 {
		return false
	}
	if second := now / 1000; second != e.rateSecond {
		e.rateSecond, e.rateCount = second, 0
	}
	e.rateCount++
	return e.rateCount > limits.DatagramsPerSecond
}
