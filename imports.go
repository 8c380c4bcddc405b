// Package lbpro takes all systems of Load Balancer Pro into a Caddy build:
//
//	xcaddy build --with github.com/caddy-lbpro/caddy-lbpro
//
// Each of them also works alone; import its package below modules/ instead.
package lbpro

import (
	// Load Balancer Pro: the handler lbpro and its selection policies.
	_ "github.com/caddy-lbpro/caddy-lbpro/modules/lbpro"
)
