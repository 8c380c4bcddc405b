package analytics

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-lbpro/caddy-lbpro/modules/analytics/store"
)

// openStore opens the store, trying again until ctx ends; then it returns nil.
func (e *engine) openStore(ctx context.Context) (store.Store, func() error) {
	type opened struct {
		s       store.Store
		release func() error
		err     error
	}
	env := StoreEnv{Logger: e.logger.Named("store"), Query: store.QueryOptions{
		Timeout:    time.Duration(e.app.Query.Timeout),
		MaxSamples: e.app.Query.MaxSamples,
		MaxPoints:  e.app.Query.MaxPoints,
	}}
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		began := e.steps.begin(stepStore)
		// Opening reads what the last process left and cannot be broken off. A stop does
		// not wait for it: the store is given back as soon as it is open.
		result := make(chan opened, 1)
		go func() {
			var o opened
			o.err = guard(func() (err error) {
				o.s, o.release, err = e.provider.OpenStore(env)
				return err
			})
			result <- o
		}()
		var o opened
		select {
		case o = <-result:
		case <-ctx.Done():
			go func() {
				if late := <-result; late.err == nil && late.release != nil {
					if err := guard(late.release); err != nil {
						e.logger.Error("closing the store", zap.Error(err))
					}
				}
			}()
			return nil, nil
		}
		e.steps.record(stepStore, began, o.err)
		if o.err == nil {
			e.mu.Lock()
			e.store = o.s
			e.mu.Unlock()
			return o.s, o.release
		}
		e.notePanic("opening the store", o.err)
		e.logger.Error("store cannot be opened, trying again", zap.Error(o.err), zap.Duration("in", pause))
		if !sleep(ctx, pause) {
			return nil, nil
		}
	}
}
