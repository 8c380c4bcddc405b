package correlate

import (
	"errors"
	"fmt"
	"runtime"
)

// Defaults and bounds of [Options].
const (
	DefaultMaxLag    = 60
	DefaultMaxSeries = 1000
	DefaultMaxPoints = 20000
	DefaultLevel     = .05
	// LagZero as MaxLag compares the same instants only.
	LagZero = -1
	// MostMaxSeries and MostMaxLag are what no option can exceed.
	MostMaxSeries = 20000
	MostMaxLag    = 10000
)

// ErrOptions is wrapped by every error about what was asked for.
var ErrOptions = errors.New("cannot correlate so")

// Options of an analysis. Zero values take the defaults.
type Options struct {
	// MaxLag is the largest lag searched each way, in cells; default 60 or a
	// quarter of the window, and never more than half of it. LagZero searches none.
	MaxLag int
	// MaxSeries bounds the series looked at; default 1,000.
	MaxSeries int
	// MaxPoints bounds the cells of the window; default 20,000.
	MaxPoints int
	// Level is the false discovery rate below which a pair is significant;
	// default .05.
	Level  float64
	Method Method
	// Target names a series to test against all others, instead of all pairs.
	Target string
	// Control names a series, such as the request rate, whose influence is taken
	// out of all others first: partial correlation.
	Control string
	// Workers is how many goroutines compute; default all processors Go may use.
	Workers int
	// Progress, where not nil, is called now and then with how many of total steps
	// are done. Calls come one at a time.
	Progress func(done, total int)
}

// normalise fills in defaults and checks what is out of range, for a window of n
// cells.
func (o Options) normalise(n int) (Options, error) {
	if o.MaxSeries == 0 {
		o.MaxSeries = DefaultMaxSeries
	}
	if o.MaxPoints == 0 {
		o.MaxPoints = DefaultMaxPoints
	}
	if o.Level == 0 {
		o.Level = DefaultLevel
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	switch {
	case o.MaxLag < LagZero || o.MaxLag > MostMaxLag:
		return o, fmt.Errorf("%w: a maximum lag of %d steps; take 1 to %d, or %d for none", ErrOptions, o.MaxLag, MostMaxLag, LagZero)
	case o.MaxSeries < 2 || o.MaxSeries > MostMaxSeries:
		return o, fmt.Errorf("%w: at most %d series; take 2 to %d", ErrOptions, o.MaxSeries, MostMaxSeries)
	case !(o.Level > 0 && o.Level < 1):
		return o, fmt.Errorf("%w: a false discovery rate of %g; take one between 0 and 1, such as %g", ErrOptions, o.Level, DefaultLevel)
	case o.Method > Spearman:
		return o, fmt.Errorf("%w: no method %d", ErrOptions, o.Method)
	case n > o.MaxPoints:
		return o, fmt.Errorf("%w: a window of %d steps; at most %d; take a larger step or a shorter window", ErrOptions, n, o.MaxPoints)
	}
	switch o.MaxLag {
	case 0:
		o.MaxLag = min(DefaultMaxLag, n/4)
	case LagZero:
		o.MaxLag = 0
	}
	o.MaxLag = min(o.MaxLag, n/2)
	return o, nil
}
