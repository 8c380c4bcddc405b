package lbpro

import (
	"time"

	"github.com/caddyserver/caddy/v2"
)

// A pathAdvisor knows the health of the network path to a backend. An app that
// implements it (flowmaster does) is asked every second; without one, or with nothing
// fresh to say, all paths count as good.
type pathAdvisor interface {
	// PathHealth returns how well packets reach the backend with the dial address, 1 for
	// a good path down to 0, from how many samples, and how old the answer is.
	PathHealth(backend string) (score float64, samples int, age time.Duration, ok bool)
}

// advisorApps are the apps that may implement pathAdvisor.
var advisorApps = []string{"flowmaster"}

const (
	adviceMaxAge     = 5 * time.Second
	adviceMinSamples = 20
	// adviceStep is the least change of a weight: below it the old advice stands, so
	// that noise does not move traffic.
	adviceStep = 0.1
	adviceMin  = 0.1
)

// pathSource remembers the advice in force for each backend.
type pathSource struct{ advised map[string]float64 }

// advise asks for the health of every backend's path and passes it on as a factor of
// its weight. When more than half of the backends look bad the cause is shared, and
// moving traffic would not help: all stay as they are.
func (u *poolUse) advise(ctx caddy.Context, now time.Duration) {
	var advisor pathAdvisor
	for _, name := range advisorApps {
		if app, err := ctx.AppIfConfigured(name); err == nil {
			if x, ok := app.(pathAdvisor); ok {
				advisor = x
			}
		}
	}
	if advisor == nil && u.path.advised == nil {
		return
	}
	all := u.pool.Backends()
	next := make(map[string]float64, len(all))
	bad := 0
	for _, b := range all {
		f := 1.0
		if advisor != nil {
			if score, n, age, ok := advisor.PathHealth(b.ID); ok && n >= adviceMinSamples && age <= adviceMaxAge {
				f = min(1, max(adviceMin, score))
			}
		}
		if f < 1-adviceStep {
			bad++
		}
		next[b.ID] = f
	}
	shared := 2*bad > len(all)
	for _, b := range all {
		f, old := next[b.ID], 1.0
		if v, ok := u.path.advised[b.ID]; ok {
			old = v
		}
		if shared {
			f = 1
		} else if d := f - old; d > -adviceStep && d < adviceStep && f != 1 {
			f = old
		}
		next[b.ID] = f
		if f != old {
			b.Advise(f, now)
		}
	}
	u.path.advised = next
}
