package flowmaster

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/decode"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// Collector is a module in the namespace flowmaster.collectors: it receives what other
// devices report of the flows they see.
type Collector interface {
	// Start opens sockets and begins to receive.
	Start(env CollectorEnv) error
	// Stop takes in what has arrived and closes them.
	Stop()
	// Status tells how it goes.
	Status() CollectorStatus
}

// CollectorEnv is what collectors work with. It outlives them.
type CollectorEnv struct {
	// Take takes in records, in the order in which they were received. Workers have a
	// number each. The slice can be used again afterwards.
	Take func(worker int, records []flow.Record)
	// Templates is what decoders remember.
	Templates *decode.Store
	Logger    *zap.Logger
}

// CollectorStatus is how a collector does.
type CollectorStatus struct {
	Protocol string         `json:"protocol"`
	Sockets  []SocketStatus `json:"sockets"`
}

// SocketStatus is one socket of a collector.
type SocketStatus struct {
	Address string `json:"address"`
	// ReceiveBuffer is how many bytes may wait in the kernel, as far as it granted them.
	ReceiveBuffer int `json:"receive_buffer_bytes"`
	// KernelDrops is how many datagrams found that full.
	KernelDrops uint64 `json:"kernel_drops"`
	Datagrams   uint64 `json:"datagrams"`
	Records     uint64 `json:"records"`
}

// provisionCollectors loads the collectors; they open nothing yet.
func (a *App) provisionCollectors() error {
	if len(a.CollectorsRaw) == 0 {
		return nil
	}
	mods, err := a.ctx.LoadModule(a, "CollectorsRaw")
	if err != nil {
		return fmt.Errorf("loading collectors: %w", err)
	}
	for _, m := range mods.([]any) {
		c, ok := m.(Collector)
		if !ok {
			return fmt.Errorf("%T is no collector", m)
		}
		a.collectors = append(a.collectors, c)
		a.parts = append(a.parts, collectorPart{c, a})
	}
	return distinctAddresses(a.collectors)
}

// collectorPart runs a collector with the app.
type collectorPart struct {
	Collector
	app *App
}

func (c collectorPart) start() error {
	s := c.app.state
	return c.Start(CollectorEnv{Take: s.take, Templates: s.templates, Logger: c.app.logger.Named("collector")})
}

func (c collectorPart) stop() error {
	c.Stop()
	return nil
}

// distinctAddresses refuses two collectors on one address: the kernel would give each
// some of the datagrams.
func distinctAddresses(list []Collector) error {
	seen := make(map[string]bool)
	for _, c := range list {
		u, ok := c.(interface{ addresses() []string })
		if !ok {
			continue
		}
		for _, a := range u.addresses() {
			if seen[a] {
				return fmt.Errorf("two collectors listen on %s: give each an address of its own", a)
			}
			seen[a] = true
		}
	}
	return nil
}
