package flow

import "math"

// minPerTable is how many flows a table may have when the tables that it
// shares its limit with have used it up.
const minPerTable = 64

// evictionSample is how many entries are looked at to find one to evict.
const evictionSample = 8

// evictionTries bounds the search in a table that has become nearly empty
// while others have used up the limit. Where less than one place in so many is
// taken, nothing is evicted, and the limit is passed by that little.
const evictionTries = 512

// full reports whether a flow must go before another can come.
func (t *Table) full() bool {
	if t.shared != nil {
		return t.active >= minPerTable && t.shared.Load() >= int64(t.limit)
	}
	return t.active >= t.limit
}

// evict removes the quietest of the next few entries.
func (t *Table) evict() {
	oldest, at := -1, int64(math.MaxInt64)
	for seen, tries := 0, 0; seen < evictionSample && tries < min(t.size, evictionTries); tries++ {
		t.evictHand = (t.evictHand + 1) % t.size
		if e := t.entry(t.evictHand); e.used {
			seen++
			if e.record.ReceivedMilliseconds < at {
				oldest, at = t.evictHand, e.record.ReceivedMilliseconds
			}
		}
	}
	if oldest < 0 {
		return
	}
	r := &t.entry(oldest).record
	var lost Totals
	lost.addRecord(r, true)
	t.other.Add(&lost)
	t.evicted++
	t.remove(oldest)
}
