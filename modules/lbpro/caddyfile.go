package lbpro

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-lbpro/caddy-lbpro/internal/argument"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("lbpro", parseHandler)
	httpcaddyfile.RegisterDirectiveOrder("lbpro", httpcaddyfile.After, "reverse_proxy")
}

func parseHandler(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h := new(Handler)
	if err := h.UnmarshalCaddyfile(helper.Dispenser); err != nil {
		return nil, err
	}
	if err := h.FinalizeUnmarshalCaddyfile(helper); err != nil {
		return nil, err
	}
	return h, nil
}

// UnmarshalCaddyfile sets up the handler. It accepts everything that `reverse_proxy`
// does, and:
//
//	lbpro [<matcher>] [<upstreams...>] {
//	    pool            <name>
//	    policy          <name> [<options...>]      # the same as lb_policy
//	    weight          <upstream> <number>
//	    backup          <upstreams...>
//	    limit           <requests in flight>
//	    hedge           on|off
//	    panic_threshold <share>
//	    eject off
//	    eject {
//	        consecutive_failures <n>
//	        failure_ratio        <share>
//	        min_requests         <n>
//	        window               <duration>
//	        success_rate_stdev   <n>
//	        latency_factor       <n>
//	        latency_windows      <n>
//	        hang                 <duration>
//	        base_time            <duration>
//	        max_time             <duration>
//	        max_percent          <percent>
//	    }
//	    slow_start off
//	    slow_start {
//	        window     <duration>
//	        min_weight <share>
//	        aggression <n>
//	    }
//	    retry off
//	    retry {
//	        budget          <share>
//	        min_concurrency <n>
//	        attempts        <n>
//	        backoff         <duration> [<max>]
//	        per_try_timeout <duration>
//	        max_body        <size>
//	    }
//	    queue off
//	    queue {
//	        size    <n>
//	        timeout <duration>
//	    }
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	whole := d.NextSegment()

	// What is ours is taken out; the rest is left for reverse_proxy to parse.
	seg := caddyfile.NewDispenser(whole)
	seg.Next()
	rest := []caddyfile.Token{seg.Token()}
	for seg.NextArg() {
		rest = append(rest, seg.Token())
	}
	var kept []caddyfile.Token
	for seg.NextBlock(0) {
		name := seg.Val()
		parse := subdirectives[name]
		if parse == nil {
			kept = append(kept, seg.NextSegment()...)
			continue
		}
		if _, twice := h.places[name]; twice && name != "weight" && name != "backup" {
			return seg.Errf("%s is given already", name)
		}
		h.place(name, seg)
		if err := parse(h, seg); err != nil {
			return err
		}
	}
	if len(kept) > 0 {
		open, end := whole[len(rest)], whole[len(whole)-1]
		rest = append(append(append(rest, open), kept...), end)
	}
	if err := h.Handler.UnmarshalCaddyfile(caddyfile.NewDispenser(rest)); err != nil {
		if strings.Contains(err.Error(), "unrecognized subdirective") {
			return fmt.Errorf("%w; lbpro takes those of reverse_proxy and %s", err, strings.Join(slices.Sorted(maps.Keys(subdirectives)), ", "))
		}
		return err
	}
	return h.checkParsed(whole[0])
}

// checkParsed refuses what Provision would refuse, while it is known where it stands: at
// the option that the error begins with, else at the directive.
func (h *Handler) checkParsed(directive caddyfile.Token) error {
	defer func() { h.places = nil }()
	_, err := h.settings()
	if err == nil {
		err = h.checkMembers()
	}
	if err == nil {
		return nil
	}
	at, longest := directive, 0
	for option, token := range h.places {
		if len(option) > longest && strings.HasPrefix(err.Error(), option) {
			at, longest = token, len(option)
		}
	}
	d := caddyfile.NewDispenser([]caddyfile.Token{at})
	d.Next()
	return d.WrapErr(err)
}

// place remembers where an option stands.
func (h *Handler) place(option string, d *caddyfile.Dispenser) {
	if h.places == nil {
		h.places = make(map[string]caddyfile.Token)
	}
	h.places[option] = d.Token()
}

// subdirectives are those that stock reverse_proxy does not have or that mean more here.
var subdirectives map[string]func(*Handler, *caddyfile.Dispenser) error

func init() {
	subdirectives = map[string]func(*Handler, *caddyfile.Dispenser) error{
		"pool": func(h *Handler, d *caddyfile.Dispenser) error {
			return argument.Texts(d, &h.Pool)
		},
		"policy":    (*Handler).parsePolicy,
		"lb_policy": (*Handler).parsePolicy,
		"weight":    (*Handler).parseWeight,
		"backup":    (*Handler).parseBackup,
		"limit":     func(h *Handler, d *caddyfile.Dispenser) error { return argument.CountFrom0(d, &h.Limit) },
		"hedge":     (*Handler).parseHedge,
		"panic_threshold": func(h *Handler, d *caddyfile.Dispenser) error {
			h.PanicThreshold = new(float64)
			return argument.NumberFrom0(d, h.PanicThreshold)
		},
		"eject":      (*Handler).parseEject,
		"slow_start": (*Handler).parseSlowStart,
		"retry":      (*Handler).parseRetry,
		"queue":      (*Handler).parseQueue,
	}
}

func (h *Handler) parseWeight(d *caddyfile.Dispenser) error {
	var upstream, value string
	if err := argument.Texts(d, &upstream, &value); err != nil {
		return err
	}
	h.place("weight of "+upstream+" ", d)
	w, err := strconv.ParseFloat(value, 64)
	if err != nil || !(w >= 0) {
		return d.Errf("weight of %s is %q: it must be a number from 0", upstream, value)
	}
	if _, ok := h.Weights[upstream]; ok {
		return d.Errf("weight of %s is given already", upstream)
	}
	if h.Weights == nil {
		h.Weights = make(map[string]float64)
	}
	h.Weights[upstream] = w
	return nil
}

func (h *Handler) parseBackup(d *caddyfile.Dispenser) error {
	list := d.RemainingArgs()
	if len(list) == 0 {
		return d.ArgErr()
	}
	for _, upstream := range list {
		h.place("backup "+upstream+" ", d)
	}
	h.Backups = append(h.Backups, list...)
	return nil
}

func (h *Handler) parseHedge(d *caddyfile.Dispenser) error {
	var v string
	if err := argument.Texts(d, &v); err != nil {
		return err
	}
	if v != "on" && v != "off" {
		return d.Errf("hedge is %q: it must be on or off", v)
	}
	on := v == "on"
	h.Hedge = &on
	return nil
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Handler)(nil)
)
