package flow

import (
	"math"
	"sync"
)

// Names gives each configured name (backend, server, pool) a small number, so
// that records hold no strings. Names come only from configuration and are
// never forgotten; past the limit a new name gets 0, and Refused counts it.
// Safe for concurrent use.
type Names struct {
	mu      sync.RWMutex
	limit   int
	ids     map[string]NameID
	names   []string
	refused uint64
}

// NewNames returns a table for at most limit names; limit <= 0 means 65,536.
func NewNames(limit int) *Names {
	if limit <= 0 || limit > math.MaxInt32 {
		limit = 1 << 16
	}
	return &Names{limit: limit, ids: make(map[string]NameID), names: []string{""}}
}

// ID returns the number of name, giving it one if it has none. The empty name
// and names past the limit have 0.
func (n *Names) ID(name string) NameID {
	if name == "" {
		return 0
	}
	n.mu.RLock()
	id, ok := n.ids[name]
	n.mu.RUnlock()
	if ok {
		return id
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if id, ok = n.ids[name]; ok {
		return id
	}
	if len(n.names) > n.limit {
		n.refused++
		return 0
	}
	id = NameID(len(n.names))
	n.ids[name] = id
	n.names = append(n.names, name)
	return id
}

// Name returns the name that has number id, or "".
func (n *Names) Name(id NameID) string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if int64(id) >= int64(len(n.names)) {
		return ""
	}
	return n.names[id]
}

// Refused returns how often a name was turned away because of the limit.
func (n *Names) Refused() uint64 {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.refused
}
