package lbpro

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	democonfig "github.com/caddy-lbpro/caddy-lbpro/caddyfile"
	"github.com/caddy-lbpro/caddy-lbpro/internal/testbed"
)

// demoSide is a proxy with the backends behind it and the clients before it.
type demoSide struct {
	name    string
	addr    string // of the proxy
	cluster *testbed.Cluster
	crowd   *crowd
}

// demoWorld is everything that runs.
type demoWorld struct {
	sides []*demoSide // lbpro first
	admin string      // address of the admin API
	api   string      // address of the analytics API; empty in a build without it
}

const (
	// demoPool is the pool's name in demo.Caddyfile.
	demoPool = "demo"
	demoWork = 30 * time.Millisecond // of a request, on average
)

// demoBackends describes the backends of one side: d has half the speed of the others,
// and demoVictim misbehaves.
func demoBackends() []testbed.BackendConfig {
	all := make([]testbed.BackendConfig, 4)
	for i := range all {
		all[i] = testbed.BackendConfig{Name: string(rune('a' + i)), Workers: 4, Seed: uint64(i), Body: 1 << 10}
	}
	all[3].Speed = 0.5
	return all
}

const demoVictim = "c"

// startDemoWorld starts the backends and Caddy.
func startDemoWorld(o demoOptions) (*demoWorld, error) {
	w := new(demoWorld)
	if err := w.start(o); err != nil {
		return nil, errors.Join(err, w.stop())
	}
	return w, nil
}

func (w *demoWorld) start(o demoOptions) (err error) {
	names := []string{"lbpro"}
	if o.stock {
		names = append(names, "reverse_proxy")
	}
	for _, name := range names {
		cluster, err := testbed.StartCluster(demoBackends()...)
		if err != nil {
			return fmt.Errorf("starting backends: %w", err)
		}
		w.sides = append(w.sides, &demoSide{name: name, cluster: cluster})
	}
	if w.sides[0].addr, err = loopback(o.httpPort); err != nil {
		return err
	}
	if w.admin, err = loopback(o.adminPort); err != nil {
		return err
	}
	stock, err := loopback(0)
	if err != nil {
		return err
	}
	env := map[string]string{
		"DEMO_ADMIN":      w.admin,
		"DEMO_HTTP_PORT":  port(w.sides[0].addr),
		"DEMO_BACKENDS":   strings.Join(w.sides[0].cluster.Addrs(), " "),
		"DEMO_STOCK_PORT": port(stock),
	}
	if o.stock {
		w.sides[1].addr = stock
		env["DEMO_STOCK_BACKENDS"] = strings.Join(w.sides[1].cluster.Addrs(), " ")
	}
	text := democonfig.DemoAlone
	if builtWith("flowmaster", "analytics", "http.handlers.analytics_api") {
		text = democonfig.Demo
		if w.api, err = loopback(o.apiPort); err != nil {
			return err
		}
		env["DEMO_API_PORT"] = port(w.api)
	}
	config, err := adaptWith(text, env)
	if err != nil {
		return err
	}
	if err := caddy.Load(config, true); err != nil {
		return fmt.Errorf("starting Caddy: %w", err)
	}
	for _, s := range w.sides {
		s.crowd = newCrowd("http://" + s.addr)
	}
	return nil
}

// builtWith reports whether this build has all the modules.
func builtWith(modules ...string) bool {
	for _, id := range modules {
		if _, err := caddy.GetModule(id); err != nil {
			return false
		}
	}
	return true
}

// loopback returns an address of loopback: with the port, or a free one for 0.
func loopback(port int) (string, error) {
	if port != 0 {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), nil
	}
	addr, err := testbed.FreeAddr()
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	return addr, nil
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

// adaptWith turns a Caddyfile into JSON with environment variables set for it.
func adaptWith(text []byte, env map[string]string) ([]byte, error) {
	for name, value := range env {
		old, was := os.LookupEnv(name)
		if err := os.Setenv(name, value); err != nil {
			return nil, fmt.Errorf("setting %s: %w", name, err)
		}
		defer func() {
			if was {
				_ = os.Setenv(name, old)
			} else {
				_ = os.Unsetenv(name)
			}
		}()
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": "demo.Caddyfile"})
	if err != nil {
		return nil, fmt.Errorf("adapting demo.Caddyfile: %w", err)
	}
	return config, nil
}

// victims returns the backend of each side that misbehaves.
func (w *demoWorld) victims() []*testbed.Backend {
	var all []*testbed.Backend
	for _, s := range w.sides {
		all = append(all, s.cluster.Backend(demoVictim))
	}
	return all
}

// nothing is a configuration in which Caddy has no admin API: Stop alone leaves it
// running, also after a start that failed.
const nothing = `{"admin": {"disabled": true, "config": {"persist": false}}, "logging": {"logs": {"default": {"level": "FATAL"}}}}`

// stop ends Caddy and the backends.
func (w *demoWorld) stop() error {
	errs := []error{caddy.Load([]byte(nothing), true), caddy.Stop()}
	for _, s := range w.sides {
		errs = append(errs, s.cluster.Close())
	}
	return errors.Join(errs...)
}
