package flowmaster

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

func init() {
	caddy.RegisterModule(new(NetFlow))
	caddy.RegisterModule(new(SFlow))
}

// NetFlow collects NetFlow v5, NetFlow v9 and IPFIX, on 127.0.0.1:2055 and 127.0.0.1:4739
// unless told otherwise.
type NetFlow struct{ UDPCollector }

// CaddyModule returns the Caddy module information.
func (*NetFlow) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "flowmaster.collectors.netflow", New: func() caddy.Module { return new(NetFlow) }}
}

// Provision implements caddy.Provisioner.
func (n *NetFlow) Provision(caddy.Context) error {
	return n.provision("netflow", []uint{2055, 4739}, flow.SourceNetFlow5, flow.SourceNetFlow9, flow.SourceIPFIX)
}

// SFlow collects sFlow v5, on 127.0.0.1:6343 unless told otherwise.
type SFlow struct{ UDPCollector }

// CaddyModule returns the Caddy module information.
func (*SFlow) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "flowmaster.collectors.sflow", New: func() caddy.Module { return new(SFlow) }}
}

// Provision implements caddy.Provisioner.
func (s *SFlow) Provision(caddy.Context) error {
	return s.provision("sflow", []uint{6343}, flow.SourceSFlow)
}

// Interface guards
var (
	_ Collector             = (*NetFlow)(nil)
	_ Collector             = (*SFlow)(nil)
	_ caddy.Provisioner     = (*NetFlow)(nil)
	_ caddy.Provisioner     = (*SFlow)(nil)
	_ caddyfile.Unmarshaler = (*NetFlow)(nil)
	_ caddyfile.Unmarshaler = (*SFlow)(nil)
)
