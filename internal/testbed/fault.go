package testbed

import (
	"fmt"
	"net/http"
	"time"
)

// FaultKind is a way in which a backend misbehaves.
type FaultKind int

// The kinds of fault. What each does to requests already inside is part of its
// meaning: Hang, Reset and Restart take them down, the others let them finish.
const (
	// Slow multiplies the service time by Factor, for work in progress too.
	Slow FaultKind = iota + 1
	// Error answers at once with Code, and Retry-After when given, using no worker.
	Error
	// Hang accepts requests and never answers them, not even after the fault's end.
	// Requests already inside are never answered either.
	Hang
	// Refuse closes the listener and idle connections, as a process does that is
	// shutting down in good order: requests already inside are answered.
	Refuse
	// Reset sends a TCP RST in place of an answer, to requests inside as well.
	Reset
	// Pause stops all work for the duration, as a long garbage collection or a
	// stopped process does; connections stay and work continues where it was.
	Pause
	// Restart is a crash: connections are closed with whatever was inside, the port
	// refuses until the end of the fault, and then work starts Factor times slower
	// and warms up over Ramp.
	Restart
)

var faultNames = map[FaultKind]string{
	Slow: "slow", Error: "error", Hang: "hang", Refuse: "refuse",
	Reset: "reset", Pause: "pause", Restart: "restart",
}

// String gives the kind's name in lower case.
func (k FaultKind) String() string {
	if s, ok := faultNames[k]; ok {
		return s
	}
	return fmt.Sprintf("fault(%d)", int(k))
}

// Fault is one period of misbehaviour of one backend.
type Fault struct {
	Kind FaultKind
	// At is the onset, since the epoch given to [Backend.Begin].
	At time.Duration
	// For is how long it lasts; 0 is until the end of the run.
	For time.Duration
	// Factor multiplies the service time, 1 or more; for Slow, and for Restart as the
	// factor at the moment the backend is back.
	Factor float64
	// Ramp is the time after the fault's end in which Factor goes down to 1 in a
	// straight line; for Slow and Restart.
	Ramp time.Duration
	// Code is the status of an Error, 200 to 599; 500 when zero.
	Code int
	// RetryAfter is sent with an Error in whole seconds, rounded up, when positive.
	RetryAfter time.Duration
}

// end returns the first moment after the fault, without its ramp.
func (f Fault) end() time.Duration {
	if f.For <= 0 {
		return forever
	}
	return f.At + f.For
}

// String tells what the fault is and when.
func (f Fault) String() string {
	what := f.Kind.String()
	switch f.Kind {
	case Slow, Restart:
		what += fmt.Sprintf(" x%g", f.Factor)
	case Error:
		what += fmt.Sprintf(" %d", f.code())
	}
	if f.For <= 0 {
		return fmt.Sprintf("%s from %s on", what, f.At)
	}
	return fmt.Sprintf("%s from %s for %s", what, f.At, f.For)
}

func (f Fault) code() int {
	if f.Code == 0 {
		return http.StatusInternalServerError
	}
	return f.Code
}

func (f Fault) validate() error {
	switch {
	case faultNames[f.Kind] == "":
		return fmt.Errorf("unknown fault kind %d: use one of the constants Slow to Restart", int(f.Kind))
	case f.At < 0 || f.For < 0 || f.Ramp < 0 || f.RetryAfter < 0:
		return fmt.Errorf("%s: At, For, Ramp and RetryAfter must not be negative", f)
	case f.Kind == Slow && f.Factor < 1:
		return fmt.Errorf("%s: Factor must be 1 or more", f)
	case f.Kind == Restart && f.Factor < 1 && (f.Factor != 0 || f.Ramp != 0):
		return fmt.Errorf("%s: Factor must be 1 or more when there is a Ramp", f)
	case f.Kind == Error && (f.code() < 200 || f.code() > 599):
		return fmt.Errorf("%s: Code must be 200 to 599", f)
	}
	return nil
}
