package flowmaster

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/conninfo"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// simulated is a path in virtual time: some connections that are read a few times a second,
// as busy ones are.
type simulated struct {
	*fedPaths
	random   *rand.Rand
	segments float64 // a second, over all connections
	loss     func(second int) float64
	rtt      func(second int) time.Duration
	least    time.Duration
}

const simulatedReadings = 4 * (glances + 1)

func simulate(t testing.TB, seed uint64, segments float64) *simulated {
	return &simulated{
		fedPaths: feedPaths(t, "a", "b", "c"), random: rand.New(rand.NewPCG(seed, 1)), segments: segments, least: 100 * time.Microsecond,
		loss: func(int) float64 { return 0 }, rtt: func(int) time.Duration { return 200 * time.Microsecond },
	}
}

func (s *simulated) poisson(mean float64) (n uint32) {
	for p := 1.0; ; n++ {
		if p *= s.random.Float64(); p < math.Exp(-mean) {
			return n
		}
	}
}

// run lets seconds pass, and tells f the health after each until it returns false.
func (s *simulated) run(seconds int, f func(second int, h Health) bool) {
	well := good()
	for second := range seconds {
		s.now = s.now.Add(time.Second)
		for range simulatedReadings {
			d := conninfo.Sample{DataSegsOut: s.poisson(s.segments / simulatedReadings), MinRTT: s.least}
			d.TotalRetrans = min(d.DataSegsOut, s.poisson(float64(d.DataSegsOut)*s.loss(second)))
			d.RTT = s.rtt(second)
			s.endpoints.paths["a"].sentAt(s.now.Unix(), flow.Addr{}, &d, d.RTT)
			for _, other := range []string{"b", "c"} {
				s.endpoints.paths[other].sentAt(s.now.Unix(), flow.Addr{}, &well, well.RTT)
			}
		}
		if !f(second, s.judge(1, "a")) {
			return
		}
	}
}

// A path on which now and then a packet is lost, acknowledgements are held back, or a burst
// of losses comes once a minute is good, in every second of two hours.
func TestHealthyPathsStayGood(t *testing.T) {
	seconds := 7200
	if raceEnabled {
		seconds = 900 // nothing here runs at once
	}
	for _, rate := range []float64{20, 200, 2000} {
		for name, set := range map[string]func(*simulated){
			"a few losses": func(s *simulated) { s.loss = func(int) float64 { return 0.002 } },
			"bursts of losses": func(s *simulated) {
				s.loss = func(second int) float64 {
					if second%60 == 30 {
						return 0.03
					}
					return 0.001
				}
			},
			"held back acknowledgements": func(s *simulated) {
				s.rtt = func(int) time.Duration { return 40*time.Millisecond + time.Duration(s.random.IntN(8_000_000)) }
			},
			"noise": func(s *simulated) {
				s.rtt = func(int) time.Duration {
					d := time.Duration(s.random.ExpFloat64() * float64(15*time.Millisecond))
					if s.random.IntN(50) == 0 {
						d += time.Second // a machine that did not come to it
					}
					return s.least + d
				}
			},
			"a far path with noise": func(s *simulated) {
				s.least = 100 * time.Millisecond
				s.rtt = func(int) time.Duration {
					return s.least + time.Duration(s.random.ExpFloat64()*float64(40*time.Millisecond))
				}
			},
			"a slow second now and then": func(s *simulated) {
				s.rtt = func(second int) time.Duration {
					if second%60 == 30 {
						return 300 * time.Millisecond
					}
					return time.Millisecond
				}
			},
		} {
			t.Run(fmt.Sprintf("%s at %v", name, rate), func(t *testing.T) {
				s := simulate(t, uint64(rate), rate)
				set(s)
				worst := 1.0
				s.run(seconds, func(_ int, h Health) bool {
					worst = min(worst, h.Score)
					return true
				})
				if worst < 1 {
					t.Errorf("the score went down to %.2f", worst)
				}
			})
		}
	}
}

// What goes wrong shows within seconds where there is traffic enough to tell, and with
// little traffic when there is evidence.
func TestBadPathsShowSoon(t *testing.T) {
	const began = 60
	late := func(bad, well float64) func(int) float64 {
		return func(second int) float64 {
			if second >= began {
				return bad
			}
			return well
		}
	}
	for _, c := range []struct {
		name   string
		rate   float64
		set    func(*simulated)
		within int
	}{
		{"3 % lost of 2000 a second", 2000, func(s *simulated) { s.loss = late(0.03, 0.001) }, 5},
		{"3 % lost of 500 a second", 500, func(s *simulated) { s.loss = late(0.03, 0.001) }, 8},
		{"3 % lost of 20 a second", 20, func(s *simulated) { s.loss = late(0.03, 0.001) }, 60},
		{"a queue of 150 ms", 200, func(s *simulated) {
			s.rtt = func(second int) time.Duration { return time.Duration(late(150, 1)(second) * float64(time.Millisecond)) }
		}, 5},
	} {
		for seed := range uint64(20) {
			s := simulate(t, seed, c.rate)
			c.set(s)
			shows := -1
			s.run(began+120, func(second int, h Health) bool {
				if h.Score < badScore+0.1 {
					shows = second - began + 1
				}
				return shows == -1
			})
			if shows < 0 || shows > c.within {
				t.Errorf("%s, seed %d: shows after %d seconds, want within %d", c.name, seed, shows, c.within)
			}
		}
	}
}

// The kernel's smoothing is taken back, and never beyond what is sure.
func TestLatestRTT(t *testing.T) {
	us := time.Microsecond
	smooth := func(rtt time.Duration, n int, latest time.Duration) time.Duration {
		for range n {
			rtt += (latest - rtt) / 8
		}
		return rtt
	}
	for name, c := range map[string]struct {
		before   pathTold
		now      conninfo.Sample
		min, max time.Duration
	}{
		"as many measurements as packets": {pathTold{in: 10, rtt: 100 * us}, conninfo.Sample{SegsIn: 13, RTT: smooth(100*us, 3, 400000*us), MinRTT: 50 * us}, 399000 * us, 401000 * us},
		"fewer measurements":              {pathTold{in: 10, rtt: 100 * us}, conninfo.Sample{SegsIn: 14, RTT: smooth(100*us, 2, 400000*us), MinRTT: 50 * us}, 200000 * us, 400000 * us},
		"falling":                         {pathTold{in: 10, rtt: 400000 * us}, conninfo.Sample{SegsIn: 11, RTT: smooth(400000*us, 1, 1000*us), MinRTT: 50 * us}, 500 * us, 1500 * us},
		"never below the least":           {pathTold{in: 10, rtt: 400000 * us}, conninfo.Sample{SegsIn: 11, RTT: 100 * us, MinRTT: 50 * us}, 50 * us, 50 * us},
		"the first reading":               {pathTold{}, conninfo.Sample{SegsIn: 5, RTT: 100 * us, MinRTT: 50 * us}, 100 * us, 100 * us},
		"no packets":                      {pathTold{in: 5, rtt: 80 * us}, conninfo.Sample{SegsIn: 5, RTT: 100 * us, MinRTT: 50 * us}, 0, 0},
		"so many that it does not matter": {pathTold{in: 5, rtt: 80 * us}, conninfo.Sample{SegsIn: 500, RTT: 100 * us, MinRTT: 50 * us}, 100 * us, 100 * us},
	} {
		if name == "no packets" { // of a kernel that does not count them
			if got := c.before.latest(&c.now); got != c.now.RTT {
				t.Errorf("without a count of packets: %v", got)
			}
		}
		c.now.Fields = conninfo.HasSegments
		if got := c.before.latest(&c.now); got < c.min || got > c.max {
			t.Errorf("%s: %v, want from %v to %v", name, got, c.min, c.max)
		}
	}
}

// Glances tell the path what looks do not, and nothing twice.
func TestGlance(t *testing.T) {
	p := newProcess()
	e := p.endpoints.acquire(endpointKey{leg: 2, pool: "p", backend: "a"})
	r := new(scripted)
	c := &connection{process: p, endpoint: e, reader: r}
	p.upstream.add(c)
	a := &App{state: &state{process: p}, limits: (*Limits)(nil).withDefaults()}
	sum := func() (segments, again uint64, samples uint32) {
		for i := range e.path.seconds {
			s := &e.path.seconds[i]
			segments, again, samples = segments+s.segments, again+s.again, samples+s.samples
		}
		return segments, again, samples
	}
	step := func(what string, segments, again uint64, samples uint32) {
		t.Helper()
		if x, y, z := sum(); x != segments || y != again || z != samples {
			t.Errorf("%s: %d segments, %d again, %d samples; want %d, %d, %d", what, x, y, z, segments, again, samples)
		}
	}
	r.sent(100, 2)
	a.glance()
	step("a glance", 100, 2, 1)
	r.sent(50, 0)
	a.sweep(time.Now())
	step("a look", 150, 2, 2)
	if e.sent.Load() != r.s.Sent {
		t.Errorf("%d octets are counted, want %d", e.sent.Load(), r.s.Sent)
	}
	a.sweep(time.Now()) // it is quiet now
	reads := r.reads
	a.glance()
	if r.reads != reads {
		t.Error("a quiet connection is glanced at")
	}
	c.skip = 0
	r.sent(10, 1)
	a.sweep(time.Now())
	step("another look", 160, 3, 3)
	a.limits.SweepConnections = 1
	reads = r.reads
	a.glance()
	if r.reads != reads {
		t.Error("glances go beyond the limit")
	}
}

// scripted is a connection that says what it is told to.
type scripted struct {
	s     conninfo.Sample
	reads int
}

func (r *scripted) sent(segments, again uint32) {
	r.s.DataSegsOut += segments
	r.s.TotalRetrans += again
	r.s.Sent += uint64(segments) * 1000
	r.s.SegsIn += segments
	r.s.RTT, r.s.MinRTT = time.Millisecond, time.Millisecond
}

func (r *scripted) Sample(_ *conninfo.Reader, s *conninfo.Sample) bool {
	r.reads++
	*s = r.s
	return true
}

func (r *scripted) Ended() bool { return false }
