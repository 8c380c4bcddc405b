package analytics

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// openStores holds the stores that are open in this process, so that a reload goes on with
// the same one. Opening a directory twice would fail on its lock.
var openStores = caddy.NewUsagePool()

// pooledStore is a store in openStores.
type pooledStore struct {
	store.Store
	log *logRelay
}

// Destruct implements caddy.Destructor.
func (p *pooledStore) Destruct() error { return p.Close() }

// shareStore opens a store, or finds it open and applies what has changed.
func shareStore(key string, logger *slog.Logger, open func(*slog.Logger) (store.Store, error), apply func(store.Store) error) (store.Store, func() error, error) {
	value, loaded, err := openStores.LoadOrNew(key, func() (caddy.Destructor, error) {
		relay := newLogRelay(logger)
		s, err := open(slog.New(relay))
		if err != nil {
			return nil, err
		}
		return &pooledStore{Store: s, log: relay}, nil
	})
	if err != nil {
		return nil, nil, err
	}
	release := func() error {
		_, err := openStores.Delete(key)
		return err
	}
	p := value.(*pooledStore)
	if loaded {
		p.log.point(logger)
		if err := apply(p.Store); err != nil {
			_ = release()
			return nil, nil, err
		}
	}
	return p.Store, release, nil
}

// logRelay is a log handler that leads to the logger of the newest configuration, as a
// store outlives the one that opened it.
type logRelay struct {
	to   *atomic.Pointer[slog.Logger]
	with []func(slog.Handler) slog.Handler
}

func newLogRelay(to *slog.Logger) *logRelay {
	r := &logRelay{to: new(atomic.Pointer[slog.Logger])}
	r.point(to)
	return r
}

func (r *logRelay) point(to *slog.Logger) { r.to.Store(to) }

// Enabled implements slog.Handler.
func (r *logRelay) Enabled(ctx context.Context, l slog.Level) bool {
	return r.to.Load().Handler().Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (r *logRelay) Handle(ctx context.Context, rec slog.Record) error {
	h := r.to.Load().Handler()
	for _, f := range r.with {
		h = f(h)
	}
	return h.Handle(ctx, rec)
}

func (r *logRelay) derive(f func(slog.Handler) slog.Handler) *logRelay {
	return &logRelay{to: r.to, with: append(r.with[:len(r.with):len(r.with)], f)}
}

// WithAttrs implements slog.Handler.
func (r *logRelay) WithAttrs(attrs []slog.Attr) slog.Handler {
	return r.derive(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (r *logRelay) WithGroup(name string) slog.Handler {
	return r.derive(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

// Interface guards
var (
	_ caddy.Destructor = (*pooledStore)(nil)
	_ slog.Handler     = (*logRelay)(nil)
)
