package testbed

import (
	"sync"
	"time"
)

// outcome is what became of a job inside a station.
type outcome int

const (
	finished outcome = iota
	lost             // its backend hangs: no answer ever
	reset            // the connection is to be reset
	cut              // the connection is to be closed
)

// killedBy returns what becomes of the work inside when a killing mode begins.
func killedBy(m mode) outcome {
	switch m {
	case hanging:
		return lost
	case resetting:
		return reset
	default:
		return cut
	}
}

// job is one request inside a station.
type job struct {
	demand  time.Duration // work at the moment since
	since   time.Duration // when a worker took it up, or the schedule last changed
	arrived time.Duration
	finish  time.Duration // when the work is done; forever when never
	stage   stage
	timer   *time.Timer
	result  chan outcome // gets at most one value
}

// stage is where a job stands.
type stage int

const (
	outside stage = iota // not yet arrived
	queued
	inService
	gone // answered, killed, or dropped from the queue
)

// station is a first-come-first-served queue before a number of workers, in real
// time. It runs by timers: each job taken up has one, set for when its work will be
// done. A timer that fires late does not delay the jobs behind: they are taken up as
// of the moment the worker was free, so that the station keeps the ideal times of its
// schedule whatever the machine's timer slack.
type station struct {
	workers  int
	capacity int // most jobs queued

	mu      sync.Mutex
	epoch   time.Time // origin of every moment here
	plan    *schedule
	serving map[*job]struct{}
	queue   []*job // FIFO; the head is queue[first]
	first   int
	waiting int // queued jobs whose client is still there
}

func newStation(workers, capacity int, plan *schedule, epoch time.Time) *station {
	return &station{
		workers: workers, capacity: capacity, plan: plan, epoch: epoch,
		serving: make(map[*job]struct{}),
	}
}

// clock returns the time since the epoch. The caller holds mu.
func (s *station) clock() time.Duration { return time.Since(s.epoch) }

// enter puts a job of the given demand in. It returns nil when the queue is full.
func (s *station) enter(demand time.Duration) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	j := &job{demand: demand, arrived: now, result: make(chan outcome, 1)}
	if seg := s.plan.at(now); seg.kills() {
		j.end(killedBy(seg.mode)) // it came in while the fault began
		return j
	}
	if len(s.serving) < s.workers {
		if s.plan.finish(now, demand) == now { // no work: spare the timer
			j.end(finished)
			return j
		}
		s.take(j, now)
		return j
	}
	if s.waiting >= s.capacity {
		return nil
	}
	j.stage = queued
	s.queue = append(s.queue, j)
	s.waiting++
	return j
}

// leave is for a client that went away: a job still queued is dropped, one that a
// worker has taken up is finished all the same, as most servers do.
func (s *station) leave(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.stage == queued {
		j.stage = gone
		s.waiting--
	}
}

// take gives a job to a free worker. The caller holds mu.
func (s *station) take(j *job, at time.Duration) {
	j.since, j.stage = at, inService
	s.serving[j] = struct{}{}
	s.arm(j)
}

// arm sets the timer of a job in service. The caller holds mu.
func (s *station) arm(j *job) {
	j.finish = s.plan.finish(j.since, j.demand)
	if j.finish == forever {
		return
	}
	j.timer = time.AfterFunc(j.finish-s.clock(), func() { s.complete(j) })
}

// complete answers a job and gives its worker the next one.
func (s *station) complete(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The timer may have fired while the job was killed or its schedule replaced.
	if j.stage != inService || j.finish > s.clock() {
		return
	}
	delete(s.serving, j)
	j.end(finished)
	if next := s.pop(); next != nil {
		s.take(next, max(j.finish, next.arrived))
	}
}

// pop removes the first queued job whose client is still there. The caller holds mu.
func (s *station) pop() *job {
	for s.first < len(s.queue) {
		j := s.queue[s.first]
		s.queue[s.first] = nil
		s.first++
		if s.first == len(s.queue) {
			s.queue, s.first = s.queue[:0], 0
		} else if s.first > 1024 && s.first > len(s.queue)/2 {
			n := copy(s.queue, s.queue[s.first:])
			clear(s.queue[n:])
			s.queue, s.first = s.queue[:n], 0
		}
		if j.stage == queued {
			s.waiting--
			return j
		}
	}
	return nil
}

// kill takes down everything inside.
func (s *station) kill(o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for j := range s.serving {
		if j.timer != nil {
			j.timer.Stop()
		}
		j.end(o)
	}
	clear(s.serving)
	for j := s.pop(); j != nil; j = s.pop() {
		j.end(o)
	}
}

func (j *job) end(o outcome) {
	j.stage = gone
	j.result <- o
}

// replan replaces schedule and epoch from now on; work done so far stays done.
func (s *station) replan(plan *schedule, epoch time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.clock()
	old := s.plan
	s.plan, s.epoch = plan, epoch
	now := s.clock()
	for j := range s.serving {
		if j.timer != nil {
			j.timer.Stop()
		}
		j.demand = max(0, j.demand-old.done(j.since, was))
		j.since = now
		s.arm(j)
	}
	for _, j := range s.queue[s.first:] {
		j.arrived += now - was
	}
}

// load returns the number of jobs in service and waiting.
func (s *station) load() (busy, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.serving), s.waiting
}
