package flowmaster

import (
	"sync"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/conninfo"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

const (
	// pathWindow is what a verdict looks back on, in seconds. Where there is little
	// traffic it reaches back further, until there are enough readings.
	pathWindow     = 10
	pathMemory     = 60
	pathMinSamples = 20
	// What has become bad just now is seen in the last few seconds alone, before the window
	// is full of it: when the evidence in them is strong and most of them are bad by
	// themselves. A burst of losses in one second, or in two, is not enough; neither is a
	// queue of so short a time, in the window too.
	pathRecent    = 4
	pathRecentBad = 3
	// How many standard errors the evidence of so little time has to be beyond good.
	recentSure = 3

	// Up to this share of segments sent again a path is good. Beyond, what TCP can carry
	// falls with the root of the loss (Mathis et al.), and so does the score.
	goodRetrans = 0.005
	// Fewer segments sent again are chance.
	minRetrans = 5
	// A peer may hold an acknowledgement back for so long (Linux does), which looks like
	// a longer round trip. It is added to both sides of the ratio, which also keeps noise
	// on a short path from looking like a queue.
	ackDelay = 40 * time.Millisecond
	// Up to this inflation of the round trip a path is good: that is what a held back
	// acknowledgement makes of a very short one.
	goodInflation = 2
	// One reading counts for no more than this inflation, so that a few that are far off
	// are not taken for all.
	mostInflation = 8
	// Fewer failed connects are chance.
	minConnectFailures = 3

	// A path is taken for bad below badScore, two seconds in a row, and for good again
	// above goodScore.
	badScore  = 0.8
	goodScore = 0.9
)

// path gathers what connections to one backend tell about the way there.
type path struct {
	refs int // endpoints that have it; guarded by endpoints.mu

	mu      sync.Mutex
	seconds [pathMemory]pathSecond
	least   leastRTTs

	// The verdict's memory; only the tick uses it.
	bad   int // verdicts in a row below badScore
	worse bool
	score float64 // 0 is none yet
}

func newPath() *path { return &path{least: make(leastRTTs)} }

// pathSecond is what was read in one second.
type pathSecond struct {
	at                 int64
	samples, rtts      uint32
	segments, again    uint64
	inflation          float64 // sums over rtts
	tamed, tamedSquare float64
	connects, failures uint32
}

// second returns what is read in one second. p.mu is held.
func (p *path) second(now int64) *pathSecond {
	s := &p.seconds[now%pathMemory]
	if s.at != now {
		*s = pathSecond{at: now}
	}
	return s
}

// sent takes in what one connection to an address of the backend did since it was read
// last, and its round-trip time since then. One that sent nothing tells nothing.
func (p *path) sent(peer flow.Addr, d *conninfo.Sample, rtt time.Duration) {
	p.sentAt(time.Now().Unix(), peer, d, rtt)
}

func (p *path) sentAt(now int64, peer flow.Addr, d *conninfo.Sample, rtt time.Duration) {
	if d.DataSegsOut == 0 && d.TotalRetrans == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.second(now)
	s.samples++
	s.segments += uint64(d.DataSegsOut)
	s.again += uint64(d.TotalRetrans - min(d.TotalRetrans, d.DSACKs)) // what the peer had already was not lost
	if rtt > 0 && d.MinRTT > 0 {
		least := p.least.take(now, peer, d.MinRTT)
		s.rtts++
		s.inflation += float64(d.RTT) / float64(least)
		x := min(float64(rtt+ackDelay)/float64(least+ackDelay), mostInflation)
		s.tamed += x
		s.tamedSquare += x * x
	}
}

// connected takes in how an attempt to connect ended.
func (p *path) connected(ok bool) { p.connectedAt(time.Now().Unix(), ok) }

func (p *path) connectedAt(now int64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.second(now)
	s.connects++
	if !ok {
		s.failures++
		s.samples++
	}
}

// healthReport is the state of all paths at one time. It does not change.
type healthReport struct {
	at time.Time
	by map[string]Health
}

// judgePaths makes the report of this second.
func (p *process) judgePaths(now time.Time) {
	type verdict struct {
		path   *path
		health Health
		score  float64
	}
	var all []verdict
	enough, bad := 0, 0
	p.endpoints.mu.RLock()
	for backend, x := range p.endpoints.paths {
		v := verdict{path: x}
		v.health, v.score = x.judge(now.Unix())
		v.health.Backend = backend
		all = append(all, v)
	}
	p.endpoints.mu.RUnlock()
	for i := range all {
		if all[i].health.Samples < pathMinSamples {
			all[i].score = 1 // too little to say anything
			continue
		}
		enough++
		if all[i].score < badScore {
			bad++
		}
	}
	shared := 2*bad > enough
	r := &healthReport{at: now, by: make(map[string]Health, len(all))}
	for _, v := range all {
		if shared {
			v.score = 1
		}
		v.health.Shared = shared
		v.health.Score = v.path.settle(v.score)
		if v.health.Samples > 0 {
			r.by[v.health.Backend] = v.health
		}
	}
	p.health.Store(r)
}

// PathHealth tells the balancer how packets fare on the way to a backend. It comes only
// from connections of this process: what a collector receives can be forged.
func (a *App) PathHealth(backend string) (score float64, samples int, age time.Duration, ok bool) {
	r := a.state.health.Load()
	if r == nil {
		return 0, 0, 0, false
	}
	h, ok := r.by[backend]
	return h.Score, h.Samples, time.Since(r.at), ok
}

// paths returns the health of all paths, for people.
func (p *process) paths() []Health {
	r := p.health.Load()
	if r == nil {
		return nil
	}
	list := make([]Health, 0, len(r.by))
	for _, h := range r.by {
		h.AgeSeconds = time.Since(r.at).Seconds()
		list = append(list, h)
	}
	return list
}
