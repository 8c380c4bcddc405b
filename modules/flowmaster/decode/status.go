package decode

import (
	"net/netip"
	"slices"
	"time"
)

// ExporterStatus is what a Store knows of one exporter.
type ExporterStatus struct {
	Address   netip.Addr `json:"address"`
	FirstSeen time.Time  `json:"first_seen"`
	LastSeen  time.Time  `json:"last_seen"`
	Domains   int        `json:"domains"`
	Templates int        `json:"templates"`
	// SamplingPacketInterval is what the exporter announced for records that
	// name no sampler; 0 when it announced nothing.
	SamplingPacketInterval uint32   `json:"sampling_packet_interval"`
	Counters               Counters `json:"counters"`
}

// StoreStatus is what a Store holds and what it turned away.
type StoreStatus struct {
	Exporters        int   `json:"exporters"`
	Domains          int   `json:"domains"`
	Templates        int   `json:"templates"`
	TemplateBytes    int64 `json:"template_bytes"`
	ExportersRefused int64 `json:"exporters_refused"`
	DomainsRefused   int64 `json:"domains_refused"`
	// Undecodable counts datagrams that were of no known protocol; they make
	// no exporter known.
	Undecodable int64 `json:"undecodable"`
	// Panics counts datagrams given up because of a fault in the decoder.
	Panics int64 `json:"panics"`
	// Forgotten sums the counters of exporters that are remembered no more.
	Forgotten Counters `json:"forgotten"`
}

// Exporters returns what is known of each exporter, by address.
func (s *Store) Exporters() []ExporterStatus {
	s.mu.RLock()
	all := make([]*exporter, 0, len(s.exporters))
	for _, e := range s.exporters {
		all = append(all, e)
	}
	s.mu.RUnlock()
	out := make([]ExporterStatus, 0, len(all))
	for _, e := range all {
		e.mu.Lock()
		out = append(out, ExporterStatus{
			Address:                e.addr,
			FirstSeen:              time.UnixMilli(e.firstSeen).UTC(),
			LastSeen:               time.UnixMilli(e.lastSeen).UTC(),
			Domains:                len(e.domains),
			Templates:              e.templates,
			SamplingPacketInterval: e.samplers.only(),
			Counters:               e.counters,
		})
		e.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b ExporterStatus) int { return a.Address.Compare(b.Address) })
	return out
}

// Status returns what the Store holds and what it turned away.
func (s *Store) Status() StoreStatus {
	st := StoreStatus{
		TemplateBytes:    s.templateBytes.Load(),
		ExportersRefused: s.exportersRefused.Load(),
		DomainsRefused:   s.domainsRefused.Load(),
		Undecodable:      s.undecodable.Load(),
		Panics:           s.panics.Load(),
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	st.Forgotten = s.forgotten
	for _, e := range s.exporters {
		e.mu.Lock()
		st.Exporters++
		st.Domains += len(e.domains)
		st.Templates += e.templates
		e.mu.Unlock()
	}
	return st
}
