package analytics

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// StatusReport is all there is to know of how the engine is doing.
type StatusReport struct {
	// starting, running, degraded (running, with something wrong), stopping, stopped.
	State string `json:"state"`
	// Problems say what is wrong, and the way out where there is one.
	Problems      []string         `json:"problems,omitempty"`
	Since         time.Time        `json:"since,omitzero"`
	UptimeSeconds float64          `json:"uptime_seconds"`
	Settings      SettingsStatus   `json:"settings"`
	Steps         []Step           `json:"steps"`
	Pipelines     []PipelineStatus `json:"pipelines"`
	Sources       []SourceStatus   `json:"sources"`
	// Store is missing until the store is open.
	Store    *store.Status     `json:"store,omitempty"`
	Windows  WindowStatus      `json:"windows"`
	Analyses AnalysisStatus    `json:"analyses"`
	Memory   MemoryStatus      `json:"memory"`
	Dropped  DroppedStatus     `json:"dropped"`
	Trouble  trouble           `json:"trouble"`
	Versions map[string]string `json:"versions"`
}

// SettingsStatus are the settings in force.
type SettingsStatus struct {
	CollectIntervalSeconds float64 `json:"collect_interval_seconds"`
	AnalyzeIntervalSeconds float64 `json:"analyze_interval_seconds"`
	MaxHistory             int     `json:"max_history"`
	MaxSeries              int     `json:"max_series"`
}

// PipelineStatus is how a pipeline is doing.
type PipelineStatus struct {
	Name      string `json:"name"`
	Automatic bool   `json:"automatic"`
	// State is waiting, running, or failing: its source does not answer, or a signal fails.
	State           string  `json:"state"`
	Source          string  `json:"source"`
	IntervalSeconds float64 `json:"interval_seconds"`
	// Joins are the pipelines whose signals are set against one another in this one.
	Joins       []string  `json:"joins,omitempty"`
	Signals     int       `json:"signals"`
	Series      int       `json:"series"`
	LeftOut     int       `json:"left_out"` // series without a place in the windows
	Runs        uint64    `json:"runs"`
	LastRun     time.Time `json:"last_run,omitzero"`
	TookSeconds float64   `json:"took_seconds"`
	Samples     uint64    `json:"samples"`
	Errors      uint64    `json:"errors"`
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	Next        time.Time `json:"next,omitzero"`
}

// WindowStatus is what is kept in memory for analysis.
type WindowStatus struct {
	Series   int   `json:"series"`
	LeftOut  int   `json:"left_out"` // because there are max_series already
	Points   int   `json:"points"`   // of the longest
	Bytes    int64 `json:"bytes"`
	Evicted  int64 `json:"evicted"`  // silent series that made room
	Late     int64 `json:"late"`     // values older than the window
	Restarts int64 `json:"restarts"` // times a clock step emptied a window
}

// MemoryStatus is what the engine and the whole process take.
type MemoryStatus struct {
	WindowBytes int64 `json:"window_bytes"`
	// AnalysesBytes is the matrix of all pairs, which grows with the square of the series.
	AnalysesBytes    int64  `json:"analyses_bytes"`
	ProcessHeapBytes uint64 `json:"process_heap_bytes"`
}

// DroppedStatus is what was turned away by a limit.
type DroppedStatus struct {
	Samples       uint64 `json:"samples"`         // by the store
	SeriesLeftOut int    `json:"series_left_out"` // of the windows
	Analyses      uint64 `json:"analyses"`        // runs left out because of load
}

// state says how the engine is doing in a word, and what is wrong.
func (e *engine) state() (string, []string) {
	e.mu.Lock()
	phase, open, t := e.phase, e.store != nil, e.trouble
	e.mu.Unlock()
	var problems []string
	if phase == phaseStarting || phase == phaseRunning {
		for _, s := range e.steps.snapshot() {
			if s.State == failed || s.Error != "" {
				problems = append(problems, s.Name+": "+s.Error)
			}
		}
	}
	if t.StopError != "" {
		problems = append(problems, t.StopError)
	}
	if phase != phaseStarting && phase != phaseRunning {
		return phase, problems
	}
	now := wallClock()
	if st := e.storeStatus(); st != nil && !st.OK {
		problems = append(problems, "store: "+st.Problem)
	}
	for _, s := range e.sources {
		if st := s.snapshot(now); st.State == "down" {
			problems = append(problems, "source "+st.Name+": "+st.LastError)
		}
	}
	for _, p := range e.pipelines {
		if st := p.snapshot(now); st.LastError != "" {
			problems = append(problems, "pipeline "+st.Name+": "+st.LastError)
		}
	}
	if a := e.analysis.snapshot(); a.LastError != "" {
		problems = append(problems, "analyses: "+a.LastError)
	}
	if len(problems) > 0 && (open || phase == phaseStarting) {
		return phaseDegraded, problems
	}
	return phase, problems
}

func (e *engine) openedStore() store.Store {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.store
}

// storeStatus returns how the store is doing, or nil before it is open.
func (e *engine) storeStatus() (st *store.Status) {
	s := e.openedStore()
	if s == nil {
		return nil
	}
	if err := guard(func() error { v := s.Status(); st = &v; return nil }); err != nil {
		st = &store.Status{Problem: err.Error()}
	}
	return st
}

// windows returns what is kept in memory.
func (e *engine) windows() (w WindowStatus) {
	if e.history == nil {
		return w
	}
	for _, r := range e.history.all() {
		s := r.win.Stats()
		w.Series += s.Signals
		w.Points = max(w.Points, s.Cells)
		w.Bytes += s.Bytes
		w.Evicted += s.Evicted
		w.Late += s.Late
		w.Restarts += s.Restarts
	}
	for _, p := range e.pipelines {
		p.mu.Lock()
		w.LeftOut += p.leftOut
		p.mu.Unlock()
	}
	return w
}

// snapshot returns how the pipeline is doing.
func (p *pipelineRun) snapshot(now time.Time) PipelineStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := PipelineStatus{
		Name: p.Name, Automatic: p.automatic, Source: p.Source, IntervalSeconds: time.Duration(p.Interval).Seconds(),
		Joins: p.joins, Signals: len(p.signals), Series: p.samples, LeftOut: p.leftOut, Runs: p.runs,
		LastRun: p.lastRun, TookSeconds: p.took.Seconds(), Samples: p.total, Errors: p.errors,
		LastError: p.lastError, LastErrorAt: p.lastErrorAt, State: waiting,
	}
	if !p.lastRun.IsZero() {
		s.State = running
		s.Next = p.lastRun.Add(time.Duration(p.Interval))
	}
	if p.lastError != "" {
		s.State = "failing"
	}
	return s
}

// PipelineReports returns how each pipeline is doing.
func (a *App) PipelineReports() []PipelineStatus {
	now := wallClock()
	down := make(map[string]string)
	for _, s := range a.engine.sources {
		if st := s.snapshot(now); st.State == "down" {
			down[st.Name] = st.LastError
		}
	}
	var all []PipelineStatus
	for _, p := range a.engine.pipelines {
		s := p.snapshot(now)
		if why, is := down[p.Source]; is {
			s.State = "failing"
			if s.LastError == "" {
				s.LastError = "source " + p.Source + ": " + why
			}
		}
		all = append(all, s)
	}
	return all
}

// StatusReport returns how the engine is doing.
func (a *App) StatusReport() StatusReport {
	e := a.engine
	now := wallClock()
	r := StatusReport{
		Settings: SettingsStatus{time.Duration(a.CollectInterval).Seconds(), time.Duration(a.AnalyzeInterval).Seconds(), a.MaxHistory, a.MaxSeries},
		Steps:    e.steps.snapshot(), Pipelines: a.PipelineReports(), Sources: []SourceStatus{},
		Store: e.storeStatus(), Windows: e.windows(), Analyses: e.analysis.snapshot(), Versions: versions(),
	}
	r.State, r.Problems = e.state()
	for _, s := range e.sources {
		r.Sources = append(r.Sources, s.snapshot(now))
	}
	e.mu.Lock()
	r.Trouble, r.Since = e.trouble, e.began
	if e.phase != phaseStopped && !e.began.IsZero() {
		r.UptimeSeconds = time.Since(e.began).Seconds()
	}
	e.mu.Unlock()
	r.Memory = MemoryStatus{WindowBytes: r.Windows.Bytes, AnalysesBytes: e.analyses.bytes.Load(), ProcessHeapBytes: heapBytes()}
	r.Dropped = DroppedStatus{SeriesLeftOut: r.Windows.LeftOut, Analyses: r.Analyses.Skipped}
	if r.Store != nil {
		r.Dropped.Samples = r.Store.Dropped
	}
	return r
}

// heapBytes reads what the process has on its heap, without stopping it.
func heapBytes() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}

// versions are those of what the engine is made of.
func versions() map[string]string {
	simple, _ := caddy.Version()
	v := map[string]string{"caddy": simple, "go": runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			switch m.Path {
			case "github.com/caddy-lbpro/caddy-lbpro":
				v["lbpro"] = m.Version
			case "github.com/prometheus/prometheus":
				v["prometheus"] = m.Version
			}
		}
	}
	return v
}
