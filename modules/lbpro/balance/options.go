package balance

import "time"

// Options are the settings of a pool. [DefaultOptions] has every default.
type Options struct {
	Eject     EjectOptions
	SlowStart SlowStartOptions
	// PanicThreshold is the share of backends that must be able to serve, 0 to 1. Below
	// it ejections are ignored: all are used rather than none.
	PanicThreshold float64
	// Hedge lets Tick ask for a second try of requests on silent backends.
	Hedge bool
}

// EjectOptions say when a backend is taken out and for how long. A zero turns the one
// check off.
type EjectOptions struct {
	// Disabled turns all ejection off; hints of silence still steer choices.
	Disabled bool
	// ConsecutiveFailures of any kind, one after the other.
	ConsecutiveFailures int64
	// FailureRatio of requests within Window, once there were MinRequests.
	FailureRatio float64
	MinRequests  float64
	Window       time.Duration
	// SuccessRateStdev: success rate this many standard deviations below the mean of the
	// pool's (Envoy's success-rate outlier), with at least 5 backends of MinRequests each.
	SuccessRateStdev float64
	// LatencyFactor: time to first byte this many times the pool's median, conditioned on
	// load, in LatencyWindows windows of a second, one after the other.
	LatencyFactor  float64
	LatencyWindows int
	// Hang is how long a backend must be silent to count as hung.
	Hang time.Duration
	// BaseTime is the length of a first ejection; it doubles up to MaxTime while the
	// backend comes back bad, and each is jittered by a quarter.
	BaseTime, MaxTime time.Duration
	// MaxPercent of the pool's backends that may be ejected at once, rounded down.
	MaxPercent float64
}

// SlowStartOptions bring a recovered or new backend to its weight step by step.
type SlowStartOptions struct {
	// Window is how long the ramp takes; 0 turns it off.
	Window time.Duration
	// MinWeight is the share at the start of the ramp, 0 to 1.
	MinWeight float64
	// Aggression bends the ramp: share = (elapsed/Window)^(1/Aggression), as in Envoy.
	Aggression float64
}

// DefaultOptions returns the settings that hold when nothing is configured.
func DefaultOptions() Options {
	return Options{
		Eject: EjectOptions{
			ConsecutiveFailures: 5,
			FailureRatio:        0.5,
			MinRequests:         20,
			Window:              10 * time.Second,
			SuccessRateStdev:    1.9,
			LatencyFactor:       5,
			LatencyWindows:      5,
			Hang:                5 * time.Second,
			BaseTime:            500 * time.Millisecond,
			MaxTime:             5 * time.Second,
			MaxPercent:          50,
		},
		SlowStart:      SlowStartOptions{Window: 5 * time.Second, MinWeight: 0.1, Aggression: 1},
		PanicThreshold: 0.5,
		Hedge:          true,
	}
}
