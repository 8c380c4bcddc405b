package analytics

import (
	"sync"
	"time"
)

// The steps of a start, in their order.
const (
	stepConfiguration = "configuration" // the configuration was read and is sound
	stepPipelines     = "pipelines"     // what is there to be watched was found
	stepStore         = "store"         // the store is open
	stepHistory       = "history"       // windows have what the store had
	stepSources       = "sources"       // every source has been collected from
	stepAnalyses      = "analyses"      // analyses run
)

// Step is one step of the engine's start.
type Step struct {
	Name string `json:"name"`
	// waiting, running, done, failed (and tried again), or skipped.
	State string `json:"state"`
	// Error of the last try, with the way out.
	Error string `json:"error,omitempty"`
	// Tries is how often it was tried, where more than once.
	Tries       int       `json:"tries,omitempty"`
	At          time.Time `json:"at,omitzero"` // when it began, last
	TookSeconds float64   `json:"took_seconds"`
}

const (
	waiting = "waiting"
	running = "running"
	done    = "done"
	failed  = "failed"
	skipped = "skipped"
)

// stepList records the steps. It is safe for concurrent use.
type stepList struct {
	mu   sync.Mutex
	list []Step
}

func newSteps() *stepList {
	l := new(stepList)
	for _, name := range []string{stepConfiguration, stepPipelines, stepStore, stepHistory, stepSources, stepAnalyses} {
		l.list = append(l.list, Step{Name: name, State: waiting})
	}
	return l
}

func (l *stepList) change(name string, f func(*Step)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.list {
		if l.list[i].Name == name {
			f(&l.list[i])
		}
	}
}

// begin notes a try.
func (l *stepList) begin(name string) time.Time {
	now := time.Now()
	l.change(name, func(s *Step) { s.State, s.At, s.Tries = running, now, s.Tries+1 })
	return now
}

// record notes how a try that began at a time has ended.
func (l *stepList) record(name string, began time.Time, err error) {
	l.change(name, func(s *Step) {
		s.State, s.Error, s.At, s.TookSeconds = done, "", began, time.Since(began).Seconds()
		if err != nil {
			s.State, s.Error = failed, err.Error()
		}
	})
}

// skip notes that a step has nothing to do.
func (l *stepList) skip(name string) {
	l.change(name, func(s *Step) { s.State, s.At = skipped, time.Now() })
}

// snapshot returns a copy.
func (l *stepList) snapshot() []Step {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Step, len(l.list))
	for i, s := range l.list {
		if s.Tries == 1 {
			s.Tries = 0
		}
		out[i] = s
	}
	return out
}
