package lbpro

import (
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

// eventSink passes a pool's events on to the newest app that uses the pool: during a
// reload there are two, and each event is told once.
type eventSink struct {
	mu   sync.Mutex
	apps []*App
}

func (s *eventSink) add(a *App) {
	s.mu.Lock()
	s.apps = append(s.apps, a)
	s.mu.Unlock()
}

// remove takes the app out. When it was the newest it returns the one that is now.
func (s *eventSink) remove(a *App) (heir *App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.apps)
	newest := n > 0 && s.apps[n-1] == a
	s.apps = slices.DeleteFunc(s.apps, func(x *App) bool { return x == a })
	if n = len(s.apps); newest && n > 0 {
		return s.apps[n-1]
	}
	return nil
}

func (s *eventSink) emit(e balance.Event) {
	s.mu.Lock()
	var a *App
	if n := len(s.apps); n > 0 {
		a = s.apps[n-1]
	}
	s.mu.Unlock()
	if a != nil {
		a.tell(e)
	}
}

// tell logs an event with the numbers behind it and emits it as a Caddy event:
// lbpro_ejected, lbpro_restored or lbpro_panic. Handlers of Caddy events run to their
// end before the emitter goes on, so they run apart from the judging.
func (a *App) tell(e balance.Event) {
	fields := []zap.Field{zap.String("pool", e.Pool.Name)}
	data := map[string]any{"pool": e.Pool.Name}
	if e.Backend != nil {
		fields = append(fields, zap.String("backend", e.Backend.ID))
		data["backend"] = e.Backend.ID
	}
	if e.Reason != "" {
		fields = append(fields, zap.String("reason", string(e.Reason)))
		data["reason"] = string(e.Reason)
	}
	if e.Detail != "" {
		fields = append(fields, zap.String("detail", e.Detail))
		data["detail"] = e.Detail
	}
	name := ""
	switch e.Kind {
	case balance.EventEjected:
		fields = append(fields, zap.Duration("for", e.For))
		data["for_seconds"] = e.For.Seconds()
		a.logger.Warn("backend ejected", fields...)
		name = "lbpro_ejected"
	case balance.EventRestored:
		a.logger.Info("backend restored", fields...)
		name = "lbpro_restored"
	case balance.EventHalfOpen:
		a.logger.Debug("backend half open: the next request is its probe", fields...)
	case balance.EventDrained:
		a.logger.Info("backend draining", fields...)
	case balance.EventPanic:
		a.logger.Warn("too few backends can serve: using all of them", fields...)
		name = "lbpro_panic"
	case balance.EventCalm:
		a.logger.Info("enough backends can serve again", fields...)
	}
	if name != "" && a.events != nil {
		go func(ctx caddy.Context) { a.events.Emit(ctx, name, data) }(a.ctx)
	}
}
