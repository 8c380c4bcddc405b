package balance

import "time"

// Drain is an operator's order that a backend takes no new requests.
type Drain struct {
	// Since is when it was given; Deadline until when sticky sessions still reach the
	// backend, 0 for never.
	Since, Deadline time.Duration
}
