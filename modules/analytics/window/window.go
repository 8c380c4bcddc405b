package window

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// Defaults and bounds of [Options].
const (
	DefaultPoints  = 3600
	DefaultSignals = 1000
	MaxPoints      = 1 << 20
	MaxSignals     = 1 << 20
)

// ErrFull is returned by [Window.Register] when the window holds as many
// signals as it may and all of them are alive.
var ErrFull = errors.New("window is full")

// Options bound a Window. Zero values take the defaults.
type Options struct {
	// Step is the distance of two cells: the collect interval. Required.
	Step time.Duration
	// Points is how many cells are kept for each signal.
	Points int
	// Signals is how many signals are kept.
	Signals int
	// MaxHold is the longest silence over which a counter still gives a rate;
	// default three steps.
	MaxHold time.Duration
}

// Window is a bounded ring of cells for each of a bounded number of signals, all
// on one grid whose phase is set by the first sample; later ones may come up to
// half a step early or late. It is safe for concurrent use. [Window.Append] costs O(1) a sample and allocates nothing.
type Window struct {
	opts Options

	mu      sync.RWMutex
	anchor  time.Time
	head    int64 // cell number of the newest cell; cell 0 is at anchor
	filled  int   // cells since the window began, at most Points
	signals []*ring
	byName  map[string]ID
	free    []ID
	behind  int // consecutive appends older than the window
	stats   Stats
}

// ID names a registered signal.
type ID int

type ring struct {
	name   string
	kind   Kind
	values []float64
	newest int64 // cell number of the newest sample
	// A counter's last sample, from which the next rate is taken.
	lastT time.Time
	lastV float64
}

// Stats counts what a window holds and what it turned away.
type Stats struct {
	Signals  int   `json:"signals"`
	Cells    int   `json:"cells"`
	Bytes    int64 `json:"bytes"`
	Refused  int64 `json:"refused_signals"` // registrations turned away
	Evicted  int64 `json:"evicted_signals"` // silent signals that made room
	Late     int64 `json:"late_samples"`    // older than the window, or a counter's out of order
	Restarts int64 `json:"restarts"`        // times a clock step emptied the window
}

// restartAfter is how many appends in a row must be older than the whole window
// before it is taken that the clock was set back.
const restartAfter = 3

// New returns an empty window.
func New(o Options) (*Window, error) {
	if o.Points == 0 {
		o.Points = DefaultPoints
	}
	if o.Signals == 0 {
		o.Signals = DefaultSignals
	}
	if o.MaxHold == 0 {
		o.MaxHold = 3 * o.Step
	}
	switch {
	case o.Step <= 0:
		return nil, fmt.Errorf("%w: the step is %v; it must be positive", ErrGrid, o.Step)
	case o.Points < 2 || o.Points > MaxPoints:
		return nil, fmt.Errorf("window of %d points: take 2 to %d", o.Points, MaxPoints)
	case o.Signals < 1 || o.Signals > MaxSignals:
		return nil, fmt.Errorf("window of %d signals: take 1 to %d", o.Signals, MaxSignals)
	}
	return &Window{opts: o, byName: make(map[string]ID)}, nil
}

// Register adds a signal, or finds the one already there under this name. In a
// full window it takes the place of a signal without a sample in the whole
// window; where there is none the error wraps [ErrFull].
func (w *Window) Register(name string, kind Kind) (ID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id, ok := w.byName[name]; ok {
		return id, nil
	}
	if len(w.byName) >= w.opts.Signals && !w.evictLocked() {
		w.stats.Refused++
		return -1, fmt.Errorf("%w: no room for signal %q beside %d others; raise the limit or select fewer signals",
			ErrFull, name, w.opts.Signals)
	}
	r := &ring{name: name, kind: kind, values: make([]float64, w.opts.Points), newest: math.MinInt64}
	for i := range r.values {
		r.values[i] = math.NaN()
	}
	id := ID(len(w.signals))
	if n := len(w.free); n > 0 {
		id, w.free = w.free[n-1], w.free[:n-1]
		w.signals[id] = r
	} else {
		w.signals = append(w.signals, r)
	}
	w.byName[name] = id
	return id, nil
}

// Remove forgets a signal. Its ID may be given to another one.
func (w *Window) Remove(id ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.removeLocked(id)
}

func (w *Window) removeLocked(id ID) {
	if id < 0 || int(id) >= len(w.signals) || w.signals[id] == nil {
		return
	}
	delete(w.byName, w.signals[id].name)
	w.signals[id] = nil
	w.free = append(w.free, id)
}

// evictLocked removes one signal that has been silent for the whole window.
func (w *Window) evictLocked() bool {
	if w.filled < w.opts.Points {
		return false
	}
	for id, r := range w.signals {
		if r != nil && r.newest <= w.head-int64(w.opts.Points) {
			w.removeLocked(ID(id))
			w.stats.Evicted++
			return true
		}
	}
	return false
}

// Append puts values[i] of signal ids[i], all read at t, into the cell nearest to
// t. Later samples of one cell replace earlier ones; NaN and infinities are
// gaps. A sample older than the window is dropped and counted. After three
// appends in a row that are older than the window, or one that is a whole window
// ahead of it, the clock was set, and the window begins anew at t.
func (w *Window) Append(t time.Time, ids []ID, values []float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	cell := w.cellLocked(t)
	if cell <= w.head-int64(w.opts.Points) {
		w.stats.Late += int64(len(values))
		return
	}
	for i, id := range ids {
		if id < 0 || int(id) >= len(w.signals) || w.signals[id] == nil || i >= len(values) {
			continue
		}
		w.putLocked(w.signals[id], t, cell, values[i])
	}
}

// cellLocked returns the cell of t and moves the head up to it.
func (w *Window) cellLocked(t time.Time) int64 {
	if w.filled == 0 {
		w.anchor, w.head, w.filled = t, 0, 1
		return 0
	}
	cell := nearest(t.Sub(w.anchor), w.opts.Step)
	ahead := cell - w.head
	if cell <= w.head-int64(w.opts.Points) {
		if w.behind++; w.behind < restartAfter {
			return cell
		}
		ahead = math.MaxInt64
	}
	w.behind = 0
	if ahead >= int64(w.opts.Points) {
		w.restartLocked(t)
		return 0
	}
	for ; w.head < cell; w.head++ {
		slot := w.slot(w.head + 1)
		for _, r := range w.signals {
			if r != nil {
				r.values[slot] = math.NaN()
			}
		}
		w.filled = min(w.filled+1, w.opts.Points)
	}
	return cell
}

func (w *Window) restartLocked(t time.Time) {
	w.anchor, w.head, w.filled = t, 0, 1
	w.stats.Restarts++
	for _, r := range w.signals {
		if r == nil {
			continue
		}
		for i := range r.values {
			r.values[i] = math.NaN()
		}
		r.newest, r.lastT = math.MinInt64, time.Time{}
	}
}

func (w *Window) putLocked(r *ring, t time.Time, cell int64, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	if r.kind == Counter {
		if !r.lastT.IsZero() && !t.After(r.lastT) {
			w.stats.Late++
			return
		}
		last, seen := r.lastV, !r.lastT.IsZero()
		dt := t.Sub(r.lastT).Seconds()
		r.lastT, r.lastV = t, v
		if !seen {
			return
		}
		if v = rate(0, last, dt, v, w.opts.MaxHold.Seconds()); math.IsNaN(v) {
			return
		}
	}
	r.values[w.slot(cell)] = v
	r.newest = max(r.newest, cell)
}

// slot is where in the rings a cell lives. Cells before the anchor are negative.
func (w *Window) slot(cell int64) int {
	n := int64(w.opts.Points)
	return int(((cell % n) + n) % n)
}

// Frame copies out the newest points cells (all of them where points is 0 or too
// many), signals in the order of their IDs.
func (w *Window) Frame(points int) *Frame {
	w.mu.RLock()
	defer w.mu.RUnlock()
	n := w.filled
	if points > 0 {
		n = min(n, points)
	}
	first := w.head - int64(n) + 1
	f := &Frame{
		Grid:    Grid{Start: w.anchor.Add(time.Duration(first) * w.opts.Step), Step: w.opts.Step, N: n},
		Signals: make([]Signal, 0, len(w.byName)),
	}
	for _, r := range w.signals {
		if r == nil {
			continue
		}
		values := make([]float64, n)
		if n > 0 {
			at := w.slot(first)
			k := copy(values, r.values[at:])
			copy(values[k:], r.values)
		}
		f.Signals = append(f.Signals, Signal{Name: r.name, Kind: r.kind, Values: values})
	}
	return f
}

// Stats returns what the window holds and what it turned away.
func (w *Window) Stats() Stats {
	w.mu.RLock()
	defer w.mu.RUnlock()
	s := w.stats
	s.Signals, s.Cells = len(w.byName), w.filled
	for _, r := range w.signals {
		if r != nil {
			s.Bytes += int64(8*len(r.values)) + signalOverhead + int64(len(r.name))
		}
	}
	return s
}

// signalOverhead is a ring's own struct and its entry in the name index, in
// bytes.
const signalOverhead = 160
