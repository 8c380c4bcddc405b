// Package caddyfile holds ready-to-run Caddyfiles. `caddy lbpro demo` runs Demo.
package caddyfile

import _ "embed"

// Demo is a balancer beside a stock reverse proxy, watched by flowmaster and analytics;
// environment variables say where.
//
//go:embed demo.Caddyfile
var Demo []byte

// DemoAlone is the same for a build that has the balancer alone.
//
//go:embed demo-alone.Caddyfile
var DemoAlone []byte
