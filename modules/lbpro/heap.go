package lbpro

import (
	"math"
	"os"
	"runtime/debug"
	"sync"
)

// A proxy makes some 20 KB of garbage a request and keeps next to nothing. Go collects
// when the heap has doubled, so a process with 6 MB in use collects every few hundred
// requests, twenty to fifty times a second under load: a seventh of all its processor
// time, and pauses that the slowest requests see. The reserve is memory that is allocated
// and never touched: it takes no pages, but counts as in use, so the collector comes as
// often as in a process that large.

// defaultHeapReserve is what App.HeapReserve is when left out.
const defaultHeapReserve = 16 << 20

// mostHeapReserve is the largest reserve that makes sense: past it nothing is gained.
const mostHeapReserve = 1 << 30

// heapReserve is the reserve of this process. Configurations overlap in a reload; the
// largest that one of them wants is in force.
type heapReserve struct {
	mu     sync.Mutex
	wanted map[*App]int64
	held   []byte
}

var reserve = heapReserve{wanted: make(map[*App]int64)}

// set puts in force what a wants; 0 is nothing.
func (h *heapReserve) set(a *App, size int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if size = affordable(size, debug.SetMemoryLimit(-1), os.Getenv("GOGC")); size > 0 {
		h.wanted[a] = size
	} else {
		delete(h.wanted, a)
	}
	h.fit()
}

// drop forgets what a wanted.
func (h *heapReserve) drop(a *App) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.wanted, a)
	h.fit()
}

// fit makes the reserve as large as the largest that is wanted. h.mu is held.
func (h *heapReserve) fit() {
	most := int64(0)
	for _, n := range h.wanted {
		most = max(most, n)
	}
	if most != int64(len(h.held)) {
		h.held = make([]byte, most)
	}
}

// size returns the bytes in reserve.
func (h *heapReserve) size() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return int64(len(h.held))
}

// affordable returns the reserve to take of the one wanted: none where the operator has
// said by GOGC how the collector should work, and no more than a sixteenth of a memory
// limit, which counts the reserve although it takes no pages.
func affordable(wanted, limit int64, gogc string) int64 {
	switch {
	case gogc != "":
		return 0
	case limit < math.MaxInt64:
		return min(wanted, limit/16)
	}
	return wanted
}
