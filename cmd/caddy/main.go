// Command caddy is Caddy with Load Balancer Pro.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-lbpro/caddy-lbpro"
)

func main() { caddycmd.Main() }
