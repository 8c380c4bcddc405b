// Package caddyfile holds ready-to-run Caddyfiles. `caddy lbpro demo` runs Demo.
package caddyfile

import _ "embed"

// Demo is a balancer beside a stock reverse proxy; environment variables say where.
//
//go:embed demo.Caddyfile
var Demo []byte
