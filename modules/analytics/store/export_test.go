package store

import "time"

// Sweep drops what is too old or too much now.
func (m *Memory) Sweep(now time.Time) { m.sweep(now) }
