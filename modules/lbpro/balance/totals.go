package balance

import (
	"sync"
	"sync/atomic"
)

// Totals count what a backend has done since the process began.
type Totals struct {
	Requests atomic.Int64    // attempts sent
	Codes    [6]atomic.Int64 // answers by class: Codes[2] is 2xx; Codes[0] is none
	Retries  atomic.Int64    // attempts that were a repeat of one elsewhere
	Hedges   atomic.Int64    // attempts that ran beside one elsewhere
	HedgeWon atomic.Int64    // and answered first
	Canceled atomic.Int64    // attempts that the client broke off
	Outrun   atomic.Int64    // attempts that were not needed: one beside it answered first
	Failures [8]atomic.Int64 // failures by Outcome, as far as Outcome.Failed
	Sent     atomic.Int64    // body bytes to the backend
	Received atomic.Int64    // body bytes from the backend

	mu      sync.Mutex
	ejected map[Reason]int64
}

// Ejected counts an ejection.
func (t *Totals) Ejected(r Reason) {
	t.mu.Lock()
	if t.ejected == nil {
		t.ejected = make(map[Reason]int64)
	}
	t.ejected[r]++
	t.mu.Unlock()
}

// Ejections returns the number of ejections for the reason.
func (t *Totals) Ejections(r Reason) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ejected[r]
}
