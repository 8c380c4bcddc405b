package correlate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/window"
)

// process is a time series: noise from step to step, and a shape over time that
// every series drawn from it shares.
type process struct {
	name  string
	noise func(rng *rand.Rand, n int) []float64
	shape func(t float64) float64
}

// draw samples the process at the given instants, one a step.
func (p process) draw(rng *rand.Rand, at []float64) []float64 {
	x := p.noise(rng, len(at))
	if p.shape != nil {
		for i, t := range at {
			x[i] += p.shape(t)
		}
	}
	return x
}

// arma draws an autoregressive moving average with the given innovations.
func arma(phi, theta []float64, innovation func(*rand.Rand) float64) func(*rand.Rand, int) []float64 {
	return func(rng *rand.Rand, n int) []float64 {
		const settle = 400
		x, e := make([]float64, n+settle), make([]float64, n+settle)
		for t := range x {
			e[t] = innovation(rng)
			x[t] = e[t]
			for j := 0; j < len(phi) && j < t; j++ {
				x[t] += phi[j] * x[t-1-j]
			}
			for j := 0; j < len(theta) && j < t; j++ {
				x[t] += theta[j] * e[t-1-j]
			}
		}
		return x[settle:]
	}
}

func gaussian(rng *rand.Rand) float64 { return rng.NormFloat64() }

func autoregressive(phi ...float64) func(*rand.Rand, int) []float64 { return arma(phi, nil, gaussian) }

func movingAverage(theta ...float64) func(*rand.Rand, int) []float64 {
	return arma(nil, theta, gaussian)
}

var white = autoregressive()

func randomWalk(rng *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for t := 1; t < n; t++ {
		x[t] = x[t-1] + rng.NormFloat64()
	}
	return x
}

func student(nu int) func(*rand.Rand) float64 {
	return func(rng *rand.Rand) float64 {
		chi2 := 0.0
		for range nu {
			v := rng.NormFloat64()
			chi2 += v * v
		}
		return rng.NormFloat64() / math.Sqrt(chi2/float64(nu))
	}
}

func sine(amplitude, period float64) func(float64) float64 {
	return func(t float64) float64 { return amplitude * math.Sin(2*math.Pi*t/period) }
}

func sawtooth(amplitude, period float64) func(float64) float64 {
	return func(t float64) float64 { return amplitude * 2 * (math.Mod(t+period, period)/period - .5) }
}

func poisson(mean float64) func(*rand.Rand, int) []float64 {
	return func(rng *rand.Rand, n int) []float64 {
		x := make([]float64, n)
		for i := range x {
			for p := rng.Float64(); p > math.Exp(-mean); p *= rng.Float64() {
				x[i]++
			}
		}
		return x
	}
}

// levelShifts adds a new random level to noise about every hundred steps.
func levelShifts(noise func(*rand.Rand, int) []float64) func(*rand.Rand, int) []float64 {
	return func(rng *rand.Rand, n int) []float64 {
		x, level := noise(rng, n), 0.0
		for i := range x {
			if rng.IntN(100) == 0 {
				level = 6 * rng.NormFloat64()
			}
			x[i] += level
		}
		return x
	}
}

// noisyByDay changes the variance of white noise with a period of 300 steps.
func noisyByDay(rng *rand.Rand, n int) []float64 {
	x := white(rng, n)
	for i := range x {
		x[i] *= 1 + .8*math.Sin(2*math.Pi*float64(i)/300)
	}
	return x
}

// onOff switches between two values at random.
func onOff(rng *rand.Rand, n int) []float64 {
	x, v := make([]float64, n), 0.0
	for i := range x {
		if rng.IntN(20) == 0 {
			v = 1 - v
		}
		x[i] = v
	}
	return x
}

// bursts is zero but for some samples every now and then, of very different sizes: what a
// retransmit ratio looks like.
func bursts(rng *rand.Rand, n int) []float64 {
	x, left := make([]float64, n), 0
	for i := range x {
		if left == 0 && rng.IntN(25) == 0 {
			left = 2 + rng.IntN(9)
		}
		if left > 0 {
			left--
			if rng.IntN(3) > 0 {
				x[i] = math.Exp(1.2 * rng.NormFloat64())
			}
		}
	}
	return x
}

// ramps are bursts as a rate over a few steps shows them.
func ramps(rng *rand.Rand, n int) []float64 {
	const over = 4
	b, x := bursts(rng, n+over), make([]float64, n)
	for i := range x {
		for _, v := range b[i : i+over] {
			x[i] += v / over
		}
	}
	return x
}

// coreProcesses are those of the published comparison of methods that this
// package was measured against.
var coreProcesses = []process{
	{"white", white, nil},
	{"AR .7", autoregressive(.7), nil},
	{"AR .95", autoregressive(.95), nil},
	{"random walk", randomWalk, nil},
	{"shared season + noise", white, sine(3, 60)},
}

// hardProcesses break methods that the core ones do not.
var hardProcesses = []process{
	{"AR(2) pseudo-cycle", autoregressive(1.5, -.8), nil},
	{"AR(3)", autoregressive(.5, -.3, .4), nil},
	{"AR −.7", autoregressive(-.7), nil},
	{"AR .99", autoregressive(.99), nil},
	{"MA .9", movingAverage(.9), nil},
	{"MA −.9", movingAverage(-.9), nil},
	{"mean of five", movingAverage(1, 1, 1, 1), nil},
	{"ARMA", arma([]float64{.9}, []float64{-.5}, gaussian), nil},
	{"Student t₃", arma(nil, nil, student(3)), nil},
	{"Cauchy", arma(nil, nil, student(1)), nil},
	{"AR .7 of t₂", arma([]float64{.7}, nil, student(2)), nil},
	{"AR .6 log-normal", arma([]float64{.6}, nil, func(r *rand.Rand) float64 { return math.Exp(1.5 * r.NormFloat64()) }), nil},
	{"two seasons", white, func(t float64) float64 { return sine(3, 24)(t) + sine(2, 168)(t) }},
	{"season of unknown period", white, sine(4, 37.3)},
	{"season in AR .9", autoregressive(.9), sine(5, 48)},
	{"season slower than most", white, sine(4, 400)},
	{"sawtooth", white, sawtooth(3, 24)},
	{"trend", white, func(t float64) float64 { return .02 * t }},
	{"bent trend", white, func(t float64) float64 { return 5e-5 * t * t }},
	{"trend in AR .8", autoregressive(.8), func(t float64) float64 { return .05 * t }},
	{"level shifts in AR .7", levelShifts(autoregressive(.7)), nil},
	{"shared day of variance", noisyByDay, nil},
	{"counts, mean 3", poisson(3), nil},
	{"counts, mean .3", poisson(.3), nil},
	{"counts, mean .05", poisson(.05), nil},
	{"switch", onOff, nil},
	{"bursts", bursts, nil},
	{"ramps", ramps, nil},
}

// regularly returns the instants 0, 1, …, n−1.
func regularly(n int) []float64 {
	at := make([]float64, n)
	for i := range at {
		at[i] = float64(i)
	}
	return at
}

// jittered returns n instants, up to .3 early or late.
func jittered(rng *rand.Rand, n int) []float64 {
	at := regularly(n)
	for i := range at {
		at[i] += .6 * (rng.Float64() - .5)
	}
	return at
}

// punch makes gaps of a share of x.
func punch(rng *rand.Rand, x []float64, share float64) {
	for i := range x {
		if rng.Float64() < share {
			x[i] = math.NaN()
		}
	}
}

// frameOf puts columns sampled at the instants at, in steps, on a grid, as
// reading a file would.
func frameOf(at []float64, columns ...[]float64) *window.Frame {
	times := make([]float64, len(at))
	for i, t := range at {
		times[i] = 1.7e9 + 10*t
	}
	place, err := window.Align(times, 10)
	if err != nil {
		panic(err)
	}
	f := &window.Frame{Grid: place.Grid, Offset: place.Offset}
	for i, c := range columns {
		f.Signals = append(f.Signals, window.Signal{Name: fmt.Sprintf("s%d", i), Values: place.Values(c)})
	}
	return f
}

// plainFrame puts columns of one length on a grid of seconds.
func plainFrame(columns ...[]float64) *window.Frame {
	f := &window.Frame{Grid: window.Grid{Start: time.Unix(1.7e9, 0).UTC(), Step: time.Second, N: len(columns[0])}}
	for i, c := range columns {
		f.Signals = append(f.Signals, window.Signal{Name: fmt.Sprintf("s%d", i), Values: c})
	}
	return f
}
