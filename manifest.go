package lbpro

import (
	_ "embed"

	"github.com/caddy-lbpro/caddy-lbpro/internal/manifest"
)

//go:embed xcaddy.json
var xcaddyJSON []byte

func init() { manifest.Register(xcaddyJSON) }
