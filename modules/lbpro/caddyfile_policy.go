package lbpro

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// policySpace is where selection policies are registered; ours are below "lbpro.".
const policySpace = "http.reverse_proxy.selection_policies."

// parsePolicy looks for the policy among ours first, then among Caddy's.
func (h *Handler) parsePolicy(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	if h.LoadBalancing == nil {
		h.LoadBalancing = new(reverseproxy.LoadBalancing)
	}
	if h.LoadBalancing.SelectionPolicyRaw != nil {
		return d.Err("load balancing selection policy already specified")
	}
	name := d.Val()
	if !strings.HasPrefix(name, "lbpro.") {
		if _, err := caddy.GetModule(policySpace + "lbpro." + name); err == nil {
			name = "lbpro." + name
		} else if _, err := caddy.GetModule(policySpace + name); err != nil {
			return d.Errf("unknown policy %q; the policies are %s", name, strings.Join(policyNames(), ", "))
		}
	}
	mod, err := caddyfile.UnmarshalModule(d, policySpace+name)
	if err != nil {
		return err
	}
	sel, ok := mod.(reverseproxy.Selector)
	if !ok {
		return d.Errf("policy %s (%T) is not a reverseproxy.Selector", name, mod)
	}
	h.LoadBalancing.SelectionPolicyRaw = caddyconfig.JSONModuleObject(sel, "policy", name, nil)
	return nil
}

// policyNames lists the policies as `policy` takes them, ours first.
func policyNames() []string {
	var ours, others []string
	for _, m := range caddy.GetModules(strings.TrimSuffix(policySpace, ".")) {
		name := strings.TrimPrefix(string(m.ID), policySpace)
		others = append(others, name)
	}
	for _, m := range caddy.GetModules(policySpace + "lbpro") {
		ours = append(ours, m.ID.Name())
	}
	return append(ours, others...)
}
