package analytics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/correlate"
	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// world is one of cells in which latency follows retransmissions by two cells, traffic
// moves bytes and errors at once, and the rest goes its own way.
type world struct {
	infos  []SeriesInfo
	values [][]float64
	step   time.Duration
	start  time.Time
}

const worldLag = 2

func newWorld(seed uint64, n int) *world {
	rng := rand.New(rand.NewPCG(seed, 9))
	ar := func(phi float64) []float64 {
		x, v := make([]float64, n+worldLag), 0.0
		for i := range x {
			v = phi*v + rng.NormFloat64()
			x[i] = v
		}
		return x
	}
	noise := func(x []float64, share float64) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = 100 + x[i] + share*rng.NormFloat64()
			if rng.IntN(20) == 0 {
				out[i] = math.NaN()
			}
		}
		return out
	}
	retransmits, traffic := ar(.6), ar(.7)
	p := &world{step: 10 * time.Second, start: time.Unix(1.7e9, 0).UTC()}
	add := func(pipeline, signal, unit string, good Direction, values []float64) {
		labels := map[string]string{"pool": "web"}
		p.infos = append(p.infos, SeriesInfo{
			Name: fmt.Sprintf("%s:%s{pool=%q}", pipeline, signal, "web"), Pipeline: pipeline, Signal: signal, Labels: labels, Unit: unit, Good: good,
		})
		p.values = append(p.values, values)
	}
	add(pipelineNetwork, "retransmit_ratio", "ratio", Down, noise(retransmits[worldLag:], .3))
	add(pipelineNetwork, "throughput", "bytes/second", Up, noise(traffic, .3))
	add(pipelineNetwork, "rtt", "seconds", Down, noise(ar(.9), 0))
	add(pipelineBalancer, "pool_response_p95_seconds", "seconds", Down, noise(retransmits, .5))
	add(pipelineBalancer, "pool_error_ratio", "ratio", Down, noise(traffic, .5))
	add(pipelineBalancer, signalTraffic, "requests/second", Neither, noise(traffic, 0))
	add(pipelineBalancer, "pool_serving_ratio", "ratio", Up, make([]float64, n))
	return p
}

// frame is the world's cells from lo to hi.
func (p *world) frame(lo, hi int) *window.Frame {
	f := &window.Frame{Grid: window.Grid{Start: p.start.Add(time.Duration(lo) * p.step), Step: p.step, N: hi - lo}}
	for i, info := range p.infos {
		f.Signals = append(f.Signals, window.Signal{Name: info.Name, Values: p.values[i][lo:hi]})
	}
	return f
}

func (p *world) run(t *testing.T, s *analyses, lo, hi int) {
	t.Helper()
	if err := s.run(t.Context(), p.frame(lo, hi), p.infos, p.start.Add(time.Duration(hi)*p.step)); err != nil {
		t.Fatal(err)
	}
}

func TestMatrixFollowsTheWindow(t *testing.T) {
	const n = 400
	p, s := newWorld(1, 800), newAnalyses(analysisOptions{})
	p.run(t, s, 0, n)
	first := s.matrix()
	fits := map[time.Time]bool{first.FittedAt: true}
	for hi := n + 3; hi <= 800; hi += 3 {
		p.run(t, s, hi-n, hi)
		m := s.matrix()
		fits[m.FittedAt] = true
		if want := p.start.Add(time.Duration(hi-2) * p.step); !m.Window.To.Equal(want) {
			t.Fatalf("the matrix is of %v, the newest settled cell is %v", m.Window.To, want)
		}
		var found bool
		for _, x := range m.Pairs {
			found = found || strings.Contains(x.X+x.Y, "throughput") && strings.Contains(x.X+x.Y, signalTraffic) && x.R > .5 && x.Rho > .5
		}
		if !found {
			t.Fatalf("traffic and throughput are not among %d pairs at cell %d", len(m.Pairs), hi)
		}
	}
	// 400 cells more are four quarters.
	if len(fits) < 4 || len(fits) > 6 {
		t.Errorf("fitted %d times over a window and another", len(fits))
	}
	if first.Window.To.Equal(s.matrix().Window.To) || first.Tests != 15 || len(first.Series) != 6 || first.Count != 1 {
		t.Errorf("the first report: %d tests, %d series, %d left out, to %v", first.Tests, len(first.Series), first.Count, first.Window.To)
	}
	for i, row := range first.R {
		if row[i] < .99 || first.Series[i].Unit == "" && first.Series[i].Good != Neither {
			t.Errorf("row %d: %v of %+v", i, row, first.Series[i])
		}
	}
}

// TestMatrixTakesNewSeries has series come and go, and the clock set.
func TestMatrixTakesNewSeries(t *testing.T) {
	p, s := newWorld(2, 500), newAnalyses(analysisOptions{})
	all := p.infos
	p.infos = all[:5]
	p.run(t, s, 0, 300)
	p.infos = all
	p.run(t, s, 5, 305) // too soon
	if n := len(s.matrix().Series); n != 5 {
		t.Fatalf("%d series", n)
	}
	p.run(t, s, 40, 340)
	if n := len(s.matrix().Series); n != 6 {
		t.Errorf("%d series after a tenth of the window, want 6", n)
	}
	p.infos = all[:3] // the others have gone
	p.run(t, s, 45, 345)
	if _, err := json.Marshal(s.matrix()); err != nil || len(s.matrix().Series) != 6 {
		t.Errorf("%v, %d series", err, len(s.matrix().Series))
	}
	p.infos = all
	p.start = p.start.Add(3 * time.Second) // the clock was set: another grid
	p.run(t, s, 45, 345)
	if !s.matrix().Window.From.Equal(p.start.Add(45 * p.step)) {
		t.Errorf("from %v", s.matrix().Window.From)
	}
}

func TestLaggedFindsTheNetworkFault(t *testing.T) {
	p, s := newWorld(3, 700), newAnalyses(analysisOptions{})
	p.run(t, s, 0, 700)
	r := s.lagged()
	if r.Network != 3 || r.Balancer != 3 || r.Tests != 6 || r.Count != 1 || r.MaxLag != 300 {
		t.Errorf("%+v", r)
	}
	var fault, traffic *PairReport
	for i, x := range r.Pairs {
		switch {
		case strings.Contains(x.X, "retransmit") && strings.Contains(x.Y, "p95"):
			fault = &r.Pairs[i]
		case strings.Contains(x.X, "throughput") && strings.Contains(x.Y, "error"):
			traffic = &r.Pairs[i]
		}
	}
	if fault == nil || traffic == nil || len(r.Pairs) > 3 {
		t.Fatalf("%+v", r.Pairs)
	}
	if fault.LagSeconds != 10*worldLag || fault.R < .5 || fault.XUnit != "ratio" || fault.YUnit != "seconds" || fault.N < 500 || fault.Q > 1e-6 ||
		!strings.Contains(fault.Text, "associated with") || !strings.Contains(fault.Text, "20 s later") {
		t.Errorf("%+v", fault)
	}
	if g := fault.Given; g == nil || g.Verdict != correlate.Significant || math.Abs(g.LagSeconds-20) > 10 || g.R < .4 || !strings.Contains(g.Control, signalTraffic) {
		t.Errorf("given traffic: %+v", g)
	}
	if g := traffic.Given; g == nil || g.Verdict != correlate.NotSignificant || !slices.ContainsFunc(traffic.Caveats, func(c string) bool { return strings.Contains(c, "traffic that moves both") }) {
		t.Errorf("throughput and errors without traffic: %+v, %v", g, traffic.Caveats)
	}
	// Not again before a minute has passed.
	if err := s.run(t.Context(), p.frame(0, 699), p.infos, r.At.Add(59*time.Second)); err != nil || s.lagged() != r {
		t.Errorf("%v", err)
	}
	if err := s.run(t.Context(), p.frame(0, 699), p.infos, r.At.Add(61*time.Second)); err != nil || s.lagged() == r {
		t.Errorf("%v", err)
	}
	// And when the clock was set back.
	r = s.lagged()
	if err := s.run(t.Context(), p.frame(0, 699), p.infos, r.At.Add(-time.Hour)); err != nil || s.lagged() == r {
		t.Errorf("%v", err)
	}
}

// TestControlIsASignal ties the name of the control to the signals of the balancer.
func TestControlIsASignal(t *testing.T) {
	if !slices.ContainsFunc(balancerSignals, func(s Signal) bool {
		return s.Name == signalTraffic && s.Good == Neither && slices.Equal(s.By, byPool)
	}) {
		t.Errorf("the balancer has no signal %s by pool", signalTraffic)
	}
	if !slices.ContainsFunc(balancerSignals, func(s Signal) bool { return s.Good != Neither && slices.Contains(s.By, "pool") }) {
		t.Error("no signal of the balancer that people feel")
	}
}

func TestLaggedWithoutNetworkSaysSo(t *testing.T) {
	p, s := newWorld(4, 100), newAnalyses(analysisOptions{})
	p.infos, p.values = p.infos[3:], p.values[3:]
	p.run(t, s, 0, 100)
	if r := s.lagged(); r.Tests != 0 || len(r.Caveats) != 1 || !strings.Contains(r.Caveats[0], pipelineNetwork) {
		t.Errorf("%+v", r)
	}
}

func TestAnalysesAreBounded(t *testing.T) {
	p, s := newWorld(5, 300), newAnalyses(analysisOptions{maxSeries: 4, maxPairs: 2})
	p.run(t, s, 0, 300)
	if m := s.matrix(); len(m.Series) != 4 || m.Count != 3 || m.Tests != 6 || len(m.Caveats) == 0 {
		t.Errorf("%d series, %d left out: %v", len(m.Series), m.Count, m.Caveats)
	}
	if r := s.lagged(); r.Network*r.Balancer > 2 || r.Network == 0 || r.Balancer == 0 {
		t.Errorf("%d × %d", r.Network, r.Balancer)
	}
	if r := s.trends(); len(r.Trends) != 4 || r.Count != 3 {
		t.Errorf("%d trends, %d left out", len(r.Trends), r.Count)
	}
}

func TestAnalysesSurvivePanics(t *testing.T) {
	p, s := newWorld(6, 300), newAnalyses(analysisOptions{})
	p.run(t, s, 0, 200)
	matrix := s.matrix()
	// A series too short fails where the frame is cut; one too many where pools are looked
	// for, in one analysis of three.
	bad := p.frame(10, 290)
	bad.Signals[1].Values = bad.Signals[1].Values[:50:50]
	err := s.run(t.Context(), bad, p.infos, matrix.At.Add(time.Minute))
	var panic *panicked
	if !errors.As(err, &panic) || s.panicCount() != 1 || s.matrix() != matrix {
		t.Fatalf("%v, %d panics", err, s.panicCount())
	}
	trends := s.trends()
	err = s.run(t.Context(), p.frame(10, 290), append(slices.Clone(p.infos), SeriesInfo{}), matrix.At.Add(time.Hour))
	if !errors.As(err, &panic) || !strings.Contains(err.Error(), "balancer and network") || s.panicCount() != 2 || s.matrix() == matrix || s.trends() == trends {
		t.Fatalf("%v, %d panics", err, s.panicCount())
	}
	matrix = s.matrix()
	p.run(t, s, 10, 290)
	if s.matrix() == matrix {
		t.Error("a good frame after a bad one gives no report")
	}
}

func TestAnalysesStopWhenCancelled(t *testing.T) {
	p, s := newWorld(7, 300), newAnalyses(analysisOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.run(ctx, p.frame(0, 300), p.infos, p.start); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if s.matrix() != nil || s.lagged() != nil || s.trends() != nil {
		t.Error("a report of work that was broken off")
	}
}

func TestAnalysesOfNothing(t *testing.T) {
	s := newAnalyses(analysisOptions{})
	for _, n := range []int{0, 1, 2, 30} {
		f := &window.Frame{Grid: window.Grid{Start: time.Unix(0, 0), Step: time.Second, N: n}}
		if err := s.run(t.Context(), f, nil, time.Unix(100, 0)); err != nil {
			t.Fatalf("%d cells: %v", n, err)
		}
	}
	p := newWorld(8, 25)
	p.run(t, s, 0, 25)
	if m := s.matrix(); m.Tests != 0 || len(m.Caveats) == 0 || !strings.Contains(m.Caveats[0], "not enough data") {
		t.Errorf("%+v", m)
	}
	for _, report := range []any{s.matrix(), s.lagged(), s.trends()} {
		if _, err := json.Marshal(report); err != nil {
			t.Errorf("%v", err)
		}
	}
}

// TestReportsAreReadWhileAnalysesRun is for the race detector.
func TestReportsAreReadWhileAnalysesRun(t *testing.T) {
	p, s := newWorld(9, 200), newAnalyses(analysisOptions{})
	p.run(t, s, 0, 100)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, report := range []any{s.matrix(), s.lagged(), s.trends()} {
					if _, err := json.Marshal(report); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for hi := 101; hi <= 160; hi++ {
		p.run(t, s, hi-100, hi)
	}
	close(stop)
	readers.Wait()
}

func TestTrendsKnowWhatIsGood(t *testing.T) {
	p, s := newWorld(12, 400), newAnalyses(analysisOptions{})
	for i := range 400 {
		p.values[4][i] = float64(i)/10 + math.Sin(float64(i*i))
	}
	p.run(t, s, 0, 400)
	r := s.trends()
	if r.Significant != 1 || r.Tests != 6 || r.Trends[0].Name != p.infos[4].Name || r.Trends[0].Course != Worse || math.Abs(r.Trends[0].SlopePerSecond-.01) > .001 {
		t.Errorf("%+v", r)
	}
}

// BenchmarkAnalyses is one run of the analyses for 1,000 series, a step of 1 s and a run
// every 15 s, everything that is not done in each of them included.
func BenchmarkAnalyses(b *testing.B) {
	const n, series, every = 600, 1000, 15
	rng := rand.New(rand.NewPCG(1, 1))
	p := &world{step: time.Second, start: time.Unix(1.7e9, 0)}
	total := n + every*600
	for i := range series {
		x, v := make([]float64, total), 0.0
		for k := range x {
			v = .7*v + rng.NormFloat64()
			x[k] = v
		}
		info := SeriesInfo{Name: fmt.Sprintf("s%03d", i), Pipeline: pipelineHTTP}
		switch {
		case i < 60:
			info.Pipeline = pipelineNetwork
		case i < 120:
			info.Pipeline, info.Good = pipelineBalancer, Down
		}
		p.infos, p.values = append(p.infos, info), append(p.values, x)
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	empty := heap()
	s := newAnalyses(analysisOptions{})
	hi := n
	run := func() {
		if err := s.run(b.Context(), p.frame(hi-n, hi), p.infos, p.start.Add(time.Duration(hi)*p.step)); err != nil {
			b.Fatal(err)
		}
		if hi += every; hi > total {
			hi = n
		}
	}
	run()
	held := heap() - empty
	b.ResetTimer()
	for range b.N {
		run()
	}
	b.ReportMetric(100*b.Elapsed().Seconds()/float64(b.N)/every, "%core")
	b.ReportMetric(float64(held)/series, "B/series")
	runtime.KeepAlive(s)
}
