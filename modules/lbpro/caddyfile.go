package lbpro

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/dustin/go-humanize"
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

// policySpace is where selection policies are registered; ours are below "lbpro.".
const policySpace = "http.reverse_proxy.selection_policies."

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
			return args(d, &h.Pool)
		},
		"policy":    (*Handler).parsePolicy,
		"lb_policy": (*Handler).parsePolicy,
		"weight":    (*Handler).parseWeight,
		"backup":    (*Handler).parseBackup,
		"limit":     func(h *Handler, d *caddyfile.Dispenser) error { return intArg(d, &h.Limit) },
		"hedge":     (*Handler).parseHedge,
		"panic_threshold": func(h *Handler, d *caddyfile.Dispenser) error {
			h.PanicThreshold = new(float64)
			return floatArg(d, h.PanicThreshold)
		},
		"eject":      (*Handler).parseEject,
		"slow_start": (*Handler).parseSlowStart,
		"retry":      (*Handler).parseRetry,
		"queue":      (*Handler).parseQueue,
	}
}

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

func (h *Handler) parseWeight(d *caddyfile.Dispenser) error {
	var upstream, value string
	if err := args(d, &upstream, &value); err != nil {
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
	if err := args(d, &v); err != nil {
		return err
	}
	if v != "on" && v != "off" {
		return d.Errf("hedge is %q: it must be on or off", v)
	}
	on := v == "on"
	h.Hedge = &on
	return nil
}

// off parses `NAME off` and reports whether that is what stands there; anything else
// must be a block.
func off(d *caddyfile.Dispenser) (bool, error) {
	name := d.Val()
	if !d.NextArg() {
		return false, nil
	}
	if d.Val() != "off" {
		return false, d.Errf("%s %q: it takes a block of options, or off", name, d.Val())
	}
	if d.NextArg() {
		return false, d.ArgErr()
	}
	return true, nil
}

// options parses a block of options by name.
func (h *Handler) options(d *caddyfile.Dispenser, of string, known map[string]func() error, order string) error {
	seen := make(map[string]bool)
	for d.NextBlock(1) {
		name := d.Val()
		parse := known[name]
		if parse == nil {
			return d.Errf("unknown option %q of %s; the options are %s", name, of, order)
		}
		if seen[name] {
			return d.Errf("option %q of %s is given already", name, of)
		}
		seen[name] = true
		h.place(of+" "+name, d)
		if err := parse(); err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) parseEject(d *caddyfile.Dispenser) error {
	if h.Eject == nil {
		h.Eject = new(Eject)
	}
	e := h.Eject
	none, err := off(d)
	if e.Off = none; err != nil || none {
		return err
	}
	return h.options(d, "eject", map[string]func() error{
		"consecutive_failures": func() error { e.ConsecutiveFailures = new(int); return intArg(d, e.ConsecutiveFailures) },
		"failure_ratio":        func() error { e.FailureRatio = new(float64); return floatArg(d, e.FailureRatio) },
		"min_requests":         func() error { e.MinRequests = new(int); return intArg(d, e.MinRequests) },
		"window":               func() error { return aboveZero(d, durationArg, &e.Window) },
		"success_rate_stdev":   func() error { e.SuccessRateStdev = new(float64); return floatArg(d, e.SuccessRateStdev) },
		"latency_factor":       func() error { e.LatencyFactor = new(float64); return floatArg(d, e.LatencyFactor) },
		"latency_windows":      func() error { return aboveZero(d, intArg, &e.LatencyWindows) },
		"hang":                 func() error { e.Hang = new(caddy.Duration); return durationArg(d, e.Hang) },
		"base_time":            func() error { return aboveZero(d, durationArg, &e.BaseTime) },
		"max_time":             func() error { return aboveZero(d, durationArg, &e.MaxTime) },
		"max_percent":          func() error { e.MaxPercent = new(float64); return floatArg(d, e.MaxPercent) },
	}, "consecutive_failures, failure_ratio, min_requests, window, success_rate_stdev, latency_factor, latency_windows, hang, base_time, max_time, max_percent")
}

func (h *Handler) parseSlowStart(d *caddyfile.Dispenser) error {
	if h.SlowStart == nil {
		h.SlowStart = new(SlowStart)
	}
	s := h.SlowStart
	none, err := off(d)
	if err != nil {
		return err
	}
	if none {
		s.Window = new(caddy.Duration)
		return nil
	}
	return h.options(d, "slow_start", map[string]func() error{
		"window":     func() error { s.Window = new(caddy.Duration); return durationArg(d, s.Window) },
		"min_weight": func() error { return aboveZero(d, floatArg, &s.MinWeight) },
		"aggression": func() error { return aboveZero(d, floatArg, &s.Aggression) },
	}, "window, min_weight, aggression")
}

func (h *Handler) parseRetry(d *caddyfile.Dispenser) error {
	if h.Retry == nil {
		h.Retry = new(Retry)
	}
	r := h.Retry
	none, err := off(d)
	if err != nil {
		return err
	}
	if none {
		r.Attempts = 1
		return nil
	}
	return h.options(d, "retry", map[string]func() error{
		"budget":          func() error { r.Budget = new(float64); return floatArg(d, r.Budget) },
		"min_concurrency": func() error { r.MinConcurrency = new(int); return intArg(d, r.MinConcurrency) },
		"attempts":        func() error { return aboveZero(d, intArg, &r.Attempts) },
		"backoff": func() error {
			r.Backoff = new(caddy.Duration)
			if !d.NextArg() {
				return d.ArgErr()
			}
			if err := duration(d, r.Backoff); err != nil || !d.NextArg() {
				return err
			}
			if err := duration(d, &r.MaxBackoff); err != nil {
				return err
			}
			return noMore(d)
		},
		"per_try_timeout": func() error { return durationArg(d, &r.PerTryTimeout) },
		"max_body": func() error {
			var v string
			if err := args(d, &v); err != nil {
				return err
			}
			n, err := humanize.ParseBytes(v)
			if err != nil || n > 1<<40 {
				return d.Errf("max_body is %q: it must be a size such as 64KiB", v)
			}
			size := int64(n)
			r.MaxBody = &size
			return nil
		},
	}, "budget, min_concurrency, attempts, backoff, per_try_timeout, max_body")
}

func (h *Handler) parseQueue(d *caddyfile.Dispenser) error {
	if h.Queue == nil {
		h.Queue = new(Queue)
	}
	q := h.Queue
	none, err := off(d)
	if err != nil {
		return err
	}
	if none {
		q.Size = new(int)
		return nil
	}
	return h.options(d, "queue", map[string]func() error{
		"size":    func() error { q.Size = new(int); return intArg(d, q.Size) },
		"timeout": func() error { return aboveZero(d, durationArg, &q.Timeout) },
	}, "size, timeout")
}

// args takes exactly as many arguments as there are places.
func args(d *caddyfile.Dispenser, places ...*string) error {
	for _, p := range places {
		if !d.NextArg() {
			return d.ArgErr()
		}
		*p = d.Val()
	}
	return noMore(d)
}

func noMore(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

func intArg(d *caddyfile.Dispenser, to *int) error {
	name, v := d.Val(), ""
	if err := args(d, &v); err != nil {
		return err
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return d.Errf("%s is %q: it must be a whole number from 0", name, v)
	}
	*to = n
	return nil
}

func floatArg(d *caddyfile.Dispenser, to *float64) error {
	name, v := d.Val(), ""
	if err := args(d, &v); err != nil {
		return err
	}
	x, err := strconv.ParseFloat(v, 64)
	if err != nil || !(x >= 0 && x <= 1e9) {
		return d.Errf("%s is %q: it must be a number from 0", name, v)
	}
	*to = x
	return nil
}

// aboveZero parses an option of which 0 would mean its default.
func aboveZero[T int | float64 | caddy.Duration](d *caddyfile.Dispenser, parse func(*caddyfile.Dispenser, *T) error, to *T) error {
	name := d.Val()
	if err := parse(d, to); err != nil {
		return err
	}
	if *to == 0 {
		return d.Errf("%s is 0: it must be above 0", name)
	}
	return nil
}

func durationArg(d *caddyfile.Dispenser, to *caddy.Duration) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	if err := duration(d, to); err != nil {
		return err
	}
	return noMore(d)
}

func duration(d *caddyfile.Dispenser, to *caddy.Duration) error {
	v, err := caddy.ParseDuration(d.Val())
	if err != nil || v < 0 {
		return d.Errf("%q is not a duration such as 500ms, 5s or 1m", d.Val())
	}
	*to = caddy.Duration(v)
	return nil
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Handler)(nil)
)
