package analytics

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// history has the windows of all signals, one for each interval. It survives a reload that
// leaves the signals as they are.
type history struct {
	key    string
	points int
	limit  int // of series in each window

	analyses atomic.Pointer[analyses] // that ran last on the windows

	mu    sync.Mutex
	rings map[time.Duration]*ring
}

// ring is the window of one interval.
type ring struct {
	win  *window.Window
	step time.Duration

	mu     sync.Mutex
	byName map[string]*series
	owners map[window.ID]*series
	one    [1]window.ID // scratch of put
	value  [1]float64
	fresh  bool // nothing has been put into it yet
}

// series is one series of a ring.
type series struct {
	SeriesInfo
	id      window.ID // -1 while it has no place in the window
	refused int       // puts to go until it asks for a place again
}

const (
	// mostRemembered is how many series without a place are remembered, for a signal and
	// for a ring.
	mostRemembered = 10000
	// askAgain is after how many puts a series without a place asks for one again.
	askAgain = 30
)

// histories are the windows of the process.
var histories = caddy.NewUsagePool()

// acquireHistory returns the windows for these pipelines; releaseHistory gives them back.
func acquireHistory(a *App, pipelines []*pipelineRun) *history {
	sum := fnv.New64a()
	for _, p := range pipelines {
		for _, s := range p.signals {
			fmt.Fprintf(sum, "%s %v %s %s %s\n", p.Name, time.Duration(p.Interval), s.Name, s.expr, s.Unit)
		}
	}
	key := fmt.Sprintf("%x %d %d", sum.Sum64(), a.MaxHistory, a.MaxSeries)
	h := &history{key: key, points: a.MaxHistory, limit: a.MaxSeries, rings: make(map[time.Duration]*ring)}
	v, _ := histories.LoadOrStore(key, h)
	return v.(*history)
}

func releaseHistory(h *history) {
	_, _ = histories.Delete(h.key) // its end cannot fail
}

// Destruct implements caddy.Destructor.
func (*history) Destruct() error { return nil }

// window returns the window of an interval.
func (h *history) window(step time.Duration) *ring {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rings[step]
	if r == nil {
		win, err := window.New(window.Options{Step: step, Points: h.points, Signals: h.limit})
		if err != nil {
			panic(err) // the bounds of the configuration are within those of a window
		}
		r = &ring{win: win, step: step, byName: make(map[string]*series), owners: make(map[window.ID]*series), fresh: true}
		h.rings[step] = r
	}
	return r
}

// all returns the windows, the shortest interval first.
func (h *history) all() []*ring {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []*ring
	for _, r := range h.rings {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *ring) int { return int(a.step - b.step) })
	return list
}

// series returns the series with these properties. The caller holds r.mu.
func (r *ring) series(info SeriesInfo) *series {
	x := r.byName[info.Name]
	if x == nil {
		x = &series{SeriesInfo: info, id: -1}
		if len(r.byName) >= mostRemembered {
			for name, o := range r.byName {
				if o.id < 0 {
					delete(r.byName, name)
				}
			}
		}
		r.byName[info.Name] = x
	}
	return x
}

// put adds a value, and reports whether there was a place for it. The caller holds r.mu.
func (r *ring) put(x *series, at time.Time, v float64) bool {
	r.fresh = false
	if x.id < 0 {
		if x.refused > 0 {
			x.refused--
			return false
		}
		if !r.register(x) {
			x.refused = askAgain
			return false
		}
	}
	r.one[0], r.value[0] = x.id, v
	r.win.Append(at, r.one[:], r.value[:])
	return true
}

// register finds a place for the series. In a full window one that has been silent for
// all of it makes room, and its ID is given away.
func (r *ring) register(x *series) bool {
	id, err := r.win.Register(x.Name, window.Gauge)
	if errors.Is(err, window.ErrFull) {
		return false
	}
	if old := r.owners[id]; old != nil && old != x {
		old.id = -1
	}
	r.owners[id], r.byName[x.Name] = x, x
	x.id = id
	return true
}

// infos returns what the signals of a frame are.
func (r *ring) infos(f *window.Frame) []SeriesInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]SeriesInfo, len(f.Signals))
	for i := range f.Signals {
		if x := r.byName[f.Signals[i].Name]; x != nil {
			out[i] = x.SeriesInfo
		} else {
			out[i] = SeriesInfo{Name: f.Signals[i].Name}
		}
	}
	return out
}

// describe names a series after its signal and labels.
func describe(s *Signal, metric labels.Labels) SeriesInfo {
	info := SeriesInfo{Pipeline: s.Pipeline, Signal: s.Name, Unit: s.Unit, Good: s.Good}
	var b strings.Builder
	b.WriteString(s.Pipeline + ":" + s.Name)
	metric.Range(func(l labels.Label) {
		if l.Name == model.MetricNameLabel {
			return
		}
		if info.Labels == nil {
			info.Labels = make(map[string]string)
			b.WriteByte('{')
		} else {
			b.WriteByte(',')
		}
		info.Labels[l.Name] = l.Value
		b.WriteString(l.Name + "=" + strconv.Quote(l.Value))
	})
	if info.Labels != nil {
		b.WriteByte('}')
	}
	info.Name = b.String()
	return info
}

// finite says whether JSON can carry v.
func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
