package store

import "time"

// Sweep drops what is too old or too much now.
func (m *Memory) Sweep(now time.Time) { m.sweep(now) }

// MapChunks moves chunks from memory to files, however little room there is.
func (s *TSDB) MapChunks() error { return s.mapChunks() }
