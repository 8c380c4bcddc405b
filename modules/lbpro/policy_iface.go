package lbpro

import (
	"net/http"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// A balancer is a selection policy of ours: the handler takes its Picker and leaves the
// rest (ejection, limits, what was tried) to the pool. Policies that are not balancers,
// such as Caddy's own, are asked through reverseproxy.Selector among the upstreams that
// may be used.
type balancer interface {
	Picker() balance.Picker
}

// A keyer is a balancer that chooses by something in the request.
type keyer interface {
	// RequestKey returns the hash by which the request is placed.
	RequestKey(*http.Request) uint64
}

// A sticker is a balancer that sends a client back to the backend it had before.
type sticker interface {
	// Stuck returns the index in list of the backend that the request's cookie names,
	// or -1. draining backends are found too, as long as their deadline allows.
	Stuck(r *http.Request, list []*balance.Backend) int
	// Stick makes the client come back to b.
	Stick(w http.ResponseWriter, r *http.Request, b *balance.Backend)
}
