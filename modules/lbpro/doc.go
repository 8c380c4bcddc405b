// Package lbpro is Load Balancer Pro for Caddy: the handler `lbpro`, a superset of
// `reverse_proxy` that places each request on the backend that will answer it soonest
// and keeps serving while backends misbehave; selection policies for it and for stock
// `reverse_proxy`; and what makes both visible: metrics, admin API and commands.
//
// The balancing itself is in the package balance below this one and knows no Caddy. This
// package carries requests: request.go follows one through its attempts, each
// of which Caddy's own proxy makes with the transport in carrier.go; request_again.go says
// when another follows, and hedge.go tries it elsewhere when its backend has gone silent.
package lbpro
