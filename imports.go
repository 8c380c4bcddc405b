// Package lbpro takes all systems of Load Balancer Pro into a Caddy build:
//
//	xcaddy build --with github.com/caddy-lbpro/caddy-lbpro
//
// Each of them also works alone; import its package below modules/ instead.
package lbpro

import (
	// Analytics Engine: collects, stores and correlates what the others measure.
	_ "github.com/caddy-lbpro/caddy-lbpro/modules/analytics"
	// Network Flow Master: connections, host counters, and the flows of other devices.
	_ "github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster"
	// Load Balancer Pro: the handler lbpro and its selection policies.
	_ "github.com/caddy-lbpro/caddy-lbpro/modules/lbpro"
)
