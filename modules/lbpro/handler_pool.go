package lbpro

import (
	"encoding/json"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// provisionPool joins the upstreams to the pool.
func (h *Handler) provisionPool() error {
	ids := make([]string, len(h.Upstreams))
	for i, u := range h.Upstreams {
		ids[i] = u.String()
	}
	if err := h.checkMembers(); err != nil {
		return err
	}
	name, named := h.Pool, h.Pool != ""
	if !named {
		switch {
		case len(ids) > 0:
			name = ids[0]
		default:
			name = "dynamic"
		}
	}
	signature, err := json.Marshal([]any{ids, h.DynamicUpstreamsRaw, h.set.pool})
	if err != nil {
		return fmt.Errorf("describing the pool: %w", err)
	}
	if named {
		if signature, err = json.Marshal(h.set.pool); err != nil {
			return fmt.Errorf("describing the pool: %w", err)
		}
	}
	p, err := h.app.usePool(name, named, string(signature), h.set.pool)
	if err != nil {
		return err
	}
	h.pool = p
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			h.logger.Warn("upstream is listed more than once; it stays one backend: use weight to give it more", zap.String("upstream", id))
		}
		b, fresh := p.join(id)
		if fresh {
			h.member(b)
		}
		h.static = append(h.static, b)
		h.app.whenStarted(p, func() { h.member(b) })
		h.joined = append(h.joined, id)
	}
	if t, ok := h.picker.(preparer); ok {
		t.Prepare(h.static)
	}
	return nil
}

// checkMembers refuses settings of backends that the handler does not have.
func (h *Handler) checkMembers() error {
	if h.DynamicUpstreamsRaw != nil {
		return nil // they may come yet
	}
	var ids []string
	for _, u := range h.Upstreams {
		ids = append(ids, u.String())
	}
	for id := range h.Weights {
		if !slices.Contains(ids, id) {
			return fmt.Errorf("weight of %s is given, but it is not an upstream; the upstreams are %q", id, ids)
		}
	}
	for _, id := range h.Backups {
		if !slices.Contains(ids, id) {
			return fmt.Errorf("backup %s is not an upstream; the upstreams are %q", id, ids)
		}
	}
	return nil
}

// member applies this handler's settings of a backend to it.
func (h *Handler) member(b *balance.Backend) *balance.Backend {
	w, ok := h.Weights[b.ID]
	if !ok {
		w = 1
	}
	b.Configure(w, slices.Contains(h.Backups, b.ID), h.Limit, clock())
	return b
}
