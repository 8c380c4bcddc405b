package lbpro

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/caddy-lbpro/caddy-lbpro/modules/lbpro/balance"
)

const (
	// probeWorkers send probes; probeQueue wait for one of them. Past that they are
	// dropped, and the policy goes by what it knows.
	probeWorkers = 8
	probeQueue   = 64
	// probeAnswer is the most of an answer that is read, in bytes.
	probeAnswer = 4 << 10
	// The most that an upstream may claim.
	probeInFlight = 1 << 20
	probeSeconds  = 3600
)

// prober asks backends for their load and reports the answers. Its workers start with the
// first request and end with the configuration.
type prober struct {
	done    <-chan struct{}
	logger  *zap.Logger
	parent  parent
	uri     string
	timeout time.Duration
	to      *balance.Prequal

	start sync.Once
	queue chan *balance.Backend
}

func newProber(ctx caddy.Context, in parent, c *LoadProbe, to *balance.Prequal) *prober {
	p := &prober{
		done: ctx.Done(), logger: ctx.Logger(), parent: in, uri: c.URI,
		timeout: time.Duration(c.Timeout), to: to, queue: make(chan *balance.Backend, probeQueue),
	}
	if p.timeout <= 0 {
		p.timeout = probeTimeout
	}
	return p
}

// ask has the backend probed, unless too many wait for that.
func (p *prober) ask(b *balance.Backend) {
	p.start.Do(func() {
		for range probeWorkers {
			go p.work()
		}
	})
	select {
	case p.queue <- b:
	default:
	}
}

func (p *prober) work() {
	for {
		select {
		case <-p.done:
			return
		case b := <-p.queue:
			load, err := p.probe(b.ID)
			if err != nil {
				if c := p.logger.Check(zap.DebugLevel, "probe failed"); c != nil {
					c.Write(zap.String("backend", b.ID), zap.Error(err))
				}
				continue
			}
			p.to.Report(b, load.InFlight, time.Duration(load.LatencySeconds*float64(time.Second)), clock())
		}
	}
}

// backendLoad is what a backend says of itself.
type backendLoad struct {
	InFlight       int     `json:"in_flight"`
	LatencySeconds float64 `json:"latency_seconds"`
}

// probe asks one backend by the transport that its requests go by.
func (p *prober) probe(id string) (load backendLoad, err error) {
	defer func() {
		// A transport that panics must not end the process for a probe.
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	transport := p.parent.transport()
	if transport == nil {
		return load, fmt.Errorf("no transport")
	}
	req, cancel, err := p.request(id)
	if err != nil {
		return load, err
	}
	defer cancel()
	res, err := transport.RoundTrip(req)
	if err != nil {
		return load, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return load, fmt.Errorf("status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, probeAnswer))
	if err != nil {
		return load, fmt.Errorf("reading the answer: %w", err)
	}
	return parseLoad(body)
}

// request makes the request of a probe, as Caddy's proxy makes those of health checks.
func (p *prober) request(id string) (*http.Request, context.CancelFunc, error) {
	addr, err := caddy.ParseNetworkAddress(id)
	if err != nil {
		return nil, nil, fmt.Errorf("address %q: %w", id, err)
	}
	di := reverseproxy.DialInfo{
		Network: addr.Network, Address: addr.JoinHostPort(0),
		Host: addr.Host, Port: strconv.FormatUint(uint64(addr.StartPort), 10),
	}
	host := di.Address
	if addr.IsUnixNetwork() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
	ctx = context.WithValue(ctx, caddy.ReplacerCtxKey, caddy.NewReplacer())
	ctx = context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{})
	ctx = context.WithValue(ctx, dialInfoKey, di)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+p.uri, nil)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	req.Header.Set("User-Agent", "caddy-lbpro probe")
	return req, cancel, nil
}

// parseLoad reads an answer and refuses what cannot be.
func parseLoad(body []byte) (backendLoad, error) {
	load := backendLoad{InFlight: -1}
	if err := json.Unmarshal(body, &load); err != nil {
		return load, fmt.Errorf("the answer is not JSON as it should be: %w", err)
	}
	switch {
	case load.InFlight < 0 || load.InFlight > probeInFlight:
		return load, fmt.Errorf("in_flight is %d: it must be from 0 to %d", load.InFlight, probeInFlight)
	case !(load.LatencySeconds > 0 && load.LatencySeconds <= probeSeconds):
		return load, fmt.Errorf("latency_seconds is %v: it must be above 0 and at most %d", load.LatencySeconds, probeSeconds)
	}
	return load, nil
}
