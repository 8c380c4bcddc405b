package testbed

import (
	"errors"
	"fmt"
	"time"
)

// Cluster is several backends under one epoch.
type Cluster struct{ backends []*Backend }

// StartCluster starts backends; those without a name are called b0, b1 and so on.
func StartCluster(cfgs ...BackendConfig) (*Cluster, error) {
	c := &Cluster{}
	for i, cfg := range cfgs {
		if cfg.Name == "" {
			cfg.Name = fmt.Sprintf("b%d", i)
		}
		b, err := StartBackend(cfg)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.backends = append(c.backends, b)
	}
	return c, nil
}

// Backends returns the backends in the order given.
func (c *Cluster) Backends() []*Backend { return c.backends }

// Backend returns the first backend of that name, or nil.
func (c *Cluster) Backend(name string) *Backend {
	for _, b := range c.backends {
		if b.Name() == name {
			return b
		}
	}
	return nil
}

// Addrs returns the host:port of each backend.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.backends))
	for i, b := range c.backends {
		addrs[i] = b.Addr()
	}
	return addrs
}

// Begin calls [Backend.Begin] on each.
func (c *Cluster) Begin(epoch time.Time) {
	for _, b := range c.backends {
		b.Begin(epoch)
	}
}

// Close closes each.
func (c *Cluster) Close() error {
	var errs []error
	for _, b := range c.backends {
		errs = append(errs, b.Close())
	}
	return errors.Join(errs...)
}
