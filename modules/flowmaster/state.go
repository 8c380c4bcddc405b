package flowmaster

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/decode"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/geo"
)

// states has what outlives configurations: the process (there is one) and the monitors.
// Configurations that agree on what a monitor keeps share one, so a reload loses nothing;
// one that masks addresses differently begins with an empty one, because what is stored
// cannot be masked again.
var states = caddy.NewUsagePool()

// state is what an App works on.
type state struct {
	*process
	monitor *flow.Monitor
	key     monitorKey
	geo     geo.Set // of this configuration
}

// process is what there is one of, whatever is configured.
type process struct {
	names      *flow.Names
	templates  *decode.Store
	pseudonyms pseudonyms

	downstream, upstream connTable
	size                 tableSize
	endpoints            endpoints
	ticking              sync.Mutex // held by a tick, which has the sweeper and the paths' scores for itself
	sweeper              sweeper
	sockets              socketSweeper
	unmeasured           atomic.Uint64
	health               atomic.Pointer[healthReport]

	mu     sync.Mutex
	owners []*App              // started ones, the newest last
	owner  atomic.Pointer[App] // the last of owners
}

// monitorKey is what two configurations have to agree on to share a monitor.
type monitorKey struct {
	mask        flow.Mask
	hash        bool
	flows, topK int
	idle        time.Duration
	active      time.Duration
}

type processKey struct{}

func newProcess() *process {
	p := &process{names: flow.NewNames(0), templates: decode.NewStore(decode.Limits{})}
	p.endpoints = endpoints{names: p.names, all: make(map[endpointKey]*endpoint), paths: make(map[string]*path)}
	p.downstream.size, p.upstream.size = &p.size, &p.size
	full := (*Limits)(nil).withDefaults()
	p.setLimits(&full)
	return p
}

// setLimits puts the limits of a configuration in force.
func (p *process) setLimits(l *Limits) {
	p.templates.SetLimits(l.decoding())
	p.size.limit.Store(int64(l.Connections))
	p.endpoints.limit.Store(int64(l.Names))
}

// Destruct implements caddy.Destructor: it ends what the process left in the metrics.
// Connections that are still open go on counting for nobody.
func (p *process) Destruct() error {
	p.endpoints.mu.Lock()
	defer p.endpoints.mu.Unlock()
	for _, e := range p.endpoints.all {
		p.endpoints.forget(e)
	}
	return nil
}

// pooled makes a value fit for a UsagePool.
type pooled[T any] struct{ v T }

// Destruct implements caddy.Destructor. For most values memory is all that there is to
// give back.
func (p pooled[T]) Destruct() error {
	if d, ok := any(p.v).(caddy.Destructor); ok {
		return d.Destruct()
	}
	return nil
}

// acquireState returns the state for a configuration. Give it back with release.
func acquireState(k monitorKey) (*state, error) {
	p, err := load(processKey{}, newProcess)
	if err != nil {
		return nil, err
	}
	m, err := load(k, func() *flow.Monitor {
		return flow.NewMonitor(flow.Options{
			Mask: k.mask, TopK: k.topK, Names: p.names,
			Table: flow.TableOptions{Flows: k.flows, IdleTimeout: k.idle, ActiveTimeout: k.active},
		})
	})
	if err != nil {
		_, _ = states.Delete(processKey{})
		return nil, err
	}
	return &state{process: p, monitor: m, key: k}, nil
}

func load[T any](key any, make func() T) (T, error) {
	v, _, err := states.LoadOrNew(key, func() (caddy.Destructor, error) { return pooled[T]{make()}, nil })
	if err != nil {
		var none T
		return none, fmt.Errorf("getting the state of flows: %w", err)
	}
	return v.(pooled[T]).v, nil
}

func (s *state) release() {
	_, _ = states.Delete(s.key)
	_, _ = states.Delete(processKey{})
}

// take adds records to the monitor, in the order in which they were received. Every
// record goes this way, so that no address is stored that must not be. Workers have a
// number each; the slice can be used again afterwards.
func (s *state) take(worker int, records []flow.Record) {
	s.geo.Annotate(records) // while addresses are whole
	if s.key.hash {
		for i := range records {
			s.pseudonyms.apply(&records[i])
		}
	}
	s.monitor.Shard(worker).Add(records)
}

// alone reports whether a is the only one that has a claim.
func (p *process) alone(a *App) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.owners) == 1 && p.owners[0] == a
}

// claim makes a the one that sweeps and ticks, and whose monitor takes the records of
// connections.
func (p *process) claim(a *App) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.owners = append(p.owners, a)
	p.owner.Store(a)
	p.setLimits(&a.limits)
}

// yield ends a claim and reports whether nobody else has one. When a is the newer of two,
// it ends because another part of its configuration failed to start: the older goes on.
func (p *process) yield(a *App) (last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, o := range p.owners {
		if o == a {
			p.owners = append(p.owners[:i:i], p.owners[i+1:]...)
			break
		}
	}
	if len(p.owners) == 0 {
		p.owner.Store(nil)
		return true
	}
	heir := p.owners[len(p.owners)-1]
	p.owner.Store(heir)
	p.setLimits(&heir.limits)
	return false
}
