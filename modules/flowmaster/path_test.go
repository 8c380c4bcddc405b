package flowmaster

import (
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/conninfo"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// fedPaths is a process whose paths are fed by hand.
type fedPaths struct {
	*process
	t   testing.TB
	now time.Time
}

func feedPaths(t testing.TB, backends ...string) *fedPaths {
	p := newProcess()
	for _, b := range backends {
		p.endpoints.release(p.endpoints.acquire(endpointKey{leg: flow.LegUpstream, pool: "p", backend: b}))
	}
	return &fedPaths{p, t, time.Now()}
}

// feed gives every second's readings of a backend, from the past up to now.
func (f *fedPaths) feed(backend string, seconds int, d conninfo.Sample) {
	x := f.endpoints.paths[backend]
	for ago := range seconds {
		at := f.now.Unix() - int64(ago)
		for range 10 {
			x.sentAt(at, flow.Addr{}, &d, d.RTT)
		}
	}
}

// judge makes n reports, and returns the last of a backend.
func (f *fedPaths) judge(n int, backend string) Health {
	for range n {
		f.judgePaths(f.now)
	}
	return f.health.Load().by[backend]
}

func good() conninfo.Sample {
	return conninfo.Sample{DataSegsOut: 100, RTT: 31 * time.Millisecond, MinRTT: 30 * time.Millisecond}
}

func lossySample() conninfo.Sample {
	s := good()
	s.DataSegsOut, s.TotalRetrans = 103, 3
	return s
}

func TestPathScore(t *testing.T) {
	far, queued, dsack, held := good(), good(), lossySample(), good()
	far.RTT, far.MinRTT = 305*time.Millisecond, 300*time.Millisecond
	queued.RTT = 300 * time.Millisecond
	dsack.DSACKs = 3
	held.RTT, held.MinRTT = 20*time.Millisecond, 50*time.Microsecond
	for name, c := range map[string]struct {
		sample   conninfo.Sample
		min, max float64
	}{
		"good":                           {good(), 1, 1},
		"far away":                       {far, 1, 1},
		"loses packets":                  {lossySample(), 0.3, 0.6},
		"has a queue":                    {queued, 0.2, 0.5},
		"sent again what was not lost":   {dsack, 1, 1},
		"acknowledgements are held back": {held, 1, 1},
	} {
		f := feedPaths(t, "a", "b", "c")
		f.feed("a", 10, c.sample)
		f.feed("b", 10, good())
		f.feed("c", 10, good())
		if h := f.judge(20, "a"); h.Score < c.min || h.Score > c.max || h.Samples != 100 || h.Shared {
			t.Errorf("%s: %+v, want a score between %v and %v", name, h, c.min, c.max)
		}
		if h := f.judge(1, "b"); h.Score != 1 {
			t.Errorf("%s: the good path has %+v", name, h)
		}
	}
}

// Trouble that most paths share is not theirs: moving traffic would not help.
func TestSharedTroubleIsNeutral(t *testing.T) {
	f := feedPaths(t, "a", "b", "c")
	for _, b := range []string{"a", "b"} {
		f.feed(b, 10, lossySample())
	}
	f.feed("c", 10, good())
	if h := f.judge(20, "a"); h.Score != 1 || !h.Shared || h.RetransRatio < 0.02 {
		t.Errorf("health is %+v, want a neutral score that says why", h)
	}
}

// One bad second moves nothing, and the way back up is slower than the way down.
func TestPathHysteresis(t *testing.T) {
	p := new(path)
	if s := p.settle(0.3); s != 1 {
		t.Errorf("one bad second gives %v", s)
	}
	p.settle(1)
	if s := p.settle(0.3); s != 1 {
		t.Errorf("another one gives %v", s)
	}
	down := 0
	for ; p.settle(0.3) > 0.4; down++ {
	}
	for range 10 {
		p.settle(0.85) // neither bad nor good
	}
	if p.score > 0.86 {
		t.Errorf("score is %v without a good second", p.score)
	}
	for p.settle(0.3) > 0.31 {
	}
	up := 0
	for ; p.settle(1) < 0.9; up++ {
	}
	if up <= down || down > 5 || up > 20 {
		t.Errorf("%d seconds down and %d up", down, up)
	}
	for range 20 {
		p.settle(1)
	}
	if p.score != 1 {
		t.Errorf("score comes back to %v only", p.score)
	}
}

// Little evidence is none: few readings, and few events among many.
func TestTooLittleEvidence(t *testing.T) {
	f := feedPaths(t, "a", "b", "c")
	bad := lossySample()
	bad.TotalRetrans = 50
	x := f.endpoints.paths["a"]
	for range pathMinSamples - 1 {
		x.sentAt(f.now.Unix(), flow.Addr{}, &bad, bad.RTT)
	}
	if h := f.judge(5, "a"); h.Score != 1 || h.Samples != pathMinSamples-1 {
		t.Errorf("few readings give %+v", h)
	}
	f.feed("b", 10, good())
	f.feed("c", 10, good())
	x.sentAt(f.now.Unix(), flow.Addr{}, &bad, bad.RTT)
	if h := f.judge(5, "a"); h.Score > 0.5 {
		t.Errorf("enough readings give %+v", h)
	}
	one := good()
	one.DataSegsOut, one.TotalRetrans = 1, 1
	for range 4 {
		f.endpoints.paths["b"].sentAt(f.now.Unix(), flow.Addr{}, &one, one.RTT)
	}
	if h := f.judge(5, "b"); h.Score != 1 {
		t.Errorf("a few segments sent again give %+v", h)
	}
	// With little traffic the verdict reaches back further.
	f = feedPaths(t, "a", "b", "c")
	f.feed("a", 10, good())
	f.feed("b", 10, good())
	for ago := range int64(30) {
		f.endpoints.paths["c"].sentAt(f.now.Unix()-ago, flow.Addr{}, &bad, bad.RTT)
	}
	if h := f.judge(5, "c"); h.Samples != pathMinSamples || h.WindowSeconds != pathMinSamples || h.Score > 0.5 {
		t.Errorf("sparse readings give %+v", h)
	}
	// What is older than a minute is forgotten.
	f.now = f.now.Add(2 * time.Minute)
	if h := f.judge(1, "c"); h != (Health{}) {
		t.Errorf("old readings give %+v", h)
	}
}

func TestFailedConnects(t *testing.T) {
	f := feedPaths(t, "a", "b", "c")
	x := f.endpoints.paths["a"]
	for i := range 40 {
		x.connectedAt(f.now.Unix(), i%2 == 0)
	}
	f.feed("b", 10, good())
	if h := f.judge(20, "a"); h.ConnectFailRatio != 0.5 || h.Score < 0.45 || h.Score > 0.55 {
		t.Errorf("health is %+v", h)
	}
}

// A report is never older than its time says, and what nobody measured is not known.
func TestPathHealth(t *testing.T) {
	f := feedPaths(t, "a")
	a := &App{state: &state{process: f.process}}
	if _, _, _, ok := a.PathHealth("a"); ok {
		t.Error("there is a health before anything was judged")
	}
	f.feed("a", 10, good())
	f.judge(1, "a")
	if score, n, age, ok := a.PathHealth("a"); !ok || score != 1 || n != 100 || age < 0 {
		t.Errorf("health is %v from %d readings, %v old (%v)", score, n, age, ok)
	}
	if _, _, _, ok := a.PathHealth("b"); ok {
		t.Error("a backend that nobody measured has a health")
	}
	f.health.Store(&healthReport{at: time.Now().Add(-time.Minute), by: f.health.Load().by})
	if _, _, age, _ := a.PathHealth("a"); age < 50*time.Second {
		t.Errorf("an old report is %v old", age)
	}
}
