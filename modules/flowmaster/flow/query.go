package flow

import "time"

// Buckets returns the totals of window w, oldest bucket first. The last bucket
// is the one of the last tick, and not complete.
func (m *Monitor) Buckets(w Window) []Bucket {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rings[w].read(m.ticked)
}

// Flows returns up to limit active flows for which keep is true, as they are
// stored: with masked addresses, in no order. keep may be nil; it is called
// with locks held and must not use the Monitor.
func (m *Monitor) Flows(limit int, keep func(*Record) bool) []Record {
	var out []Record
	for _, s := range m.shards {
		s.mu.Lock()
		out = s.table.AppendFlows(out, limit-len(out), keep)
		s.mu.Unlock()
	}
	return out
}

// Top is a top list.
type Top struct {
	Dimension Dimension
	// From is when the first pane of the list begins, To is the last tick:
	// panes are longer than buckets, so a list reaches back a little further
	// than the window is long.
	From, To time.Time
	Entries  []TopEntry
	// TotalOctets is the sum over all keys, counted or not.
	TotalOctets uint64
	// UncountedOctets is the most that a key can have that the list does not
	// count.
	UncountedOctets uint64
}

// TopEntry is one key of a top list. The true number of octets (scaled, both
// directions) lies between Octets-ErrorOctets and Octets.
type TopEntry struct {
	Key         Key
	Name        string
	Octets      uint64
	ErrorOctets uint64
}

// Top returns the n keys of dimension d with the most octets in window w, the
// largest first.
func (m *Monitor) Top(d Dimension, w Window, n int) Top {
	m.mu.Lock()
	parts, from, to := m.panes(w)
	var summaries []*topSummary
	for _, p := range parts {
		summaries = append(summaries, p.top[d])
	}
	for _, s := range m.shards {
		summaries = s.peekTop(summaries, d)
	}
	m.mu.Unlock()
	merged := mergeSummaries(m.options.TopK, summaries)
	top := Top{Dimension: d, From: from, To: to, TotalOctets: merged.total, UncountedOctets: merged.least}
	for _, c := range merged.counters[:min(max(n, 0), len(merged.counters))] {
		top.Entries = append(top.Entries, TopEntry{
			Key: c.Key, Name: d.Format(c.Key, m.options.Mask, m.options.Names), Octets: c.Count, ErrorOctets: c.Error,
		})
	}
	return top
}

// Distinct estimates how many different clients there were in window w, with
// a standard error of 0.8 %. Whole addresses are told apart, though only
// masked ones are stored. From and To are as in Top.
func (m *Monitor) Distinct(w Window) (clients uint64, from, to time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	parts, from, to := m.panes(w)
	merged := newDistinct()
	for _, p := range parts {
		mergeDistinct(merged, p.distinct)
	}
	for _, s := range m.shards {
		s.peekDistinct(merged)
	}
	return merged.Estimate(), from, to
}

// panes returns the panes of window w without what the shards are collecting
// just now, and the time that all of it together covers. m.mu must be held.
func (m *Monitor) panes(w Window) (parts []*pane, from, to time.Time) {
	parts = m.history.collect(w, m.ticked)
	start := m.paneStart
	for _, p := range parts {
		start = min(start, p.start)
	}
	return parts, time.Unix(start, 0).UTC(), time.Unix(m.ticked, 0).UTC()
}
