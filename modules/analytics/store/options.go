package store

import "time"

// QueryOptions limit what one query may cost. Zero values take the defaults.
type QueryOptions struct {
	Timeout    time.Duration // of one query; default 30s
	MaxSamples int           // held in memory by one query; default 5,000,000
	MaxPoints  int           // steps of one range query; default 11,000
	Lookback   time.Duration // how old a sample may be and still count; default 5m
}

func (o QueryOptions) withDefaults() QueryOptions {
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.MaxSamples <= 0 {
		o.MaxSamples = 5_000_000
	}
	if o.MaxPoints <= 0 {
		o.MaxPoints = 11_000
	}
	if o.Lookback <= 0 {
		o.Lookback = 5 * time.Minute
	}
	return o
}
