// Package adminclient is how commands ask a running Caddy: over its admin API, which they
// find as Caddy's own commands do.
package adminclient

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

const (
	// defaultTimeout leaves time for an analysis, which is the slowest answer there is.
	defaultTimeout = 2 * time.Minute
	// answerMost bounds an answer, and errorMost one that is an error.
	answerMost = 256 << 20
	errorMost  = 64 << 10
)

// Client asks the admin API. New makes one.
type Client struct {
	module                   string
	address, config, adapter string
	timeout                  time.Duration
	most                     int64

	reach func() (*endpoint, error)
}

// New returns the client of a command of module, which is what a Caddy that does not know
// the resource has been built without.
func New(module string) *Client {
	c := &Client{module: module, timeout: defaultTimeout, most: answerMost}
	// Once is enough: a configuration would be read and adapted again at each request.
	c.reach = sync.OnceValues(c.find)
	return c
}

// AddFlags adds the options that say where the admin API is.
func (c *Client) AddFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.address, "address", "", "The address of Caddy's admin API, if not the default")
	f.StringVarP(&c.config, "config", "c", "", "The configuration file to take that address from")
	f.StringVarP(&c.adapter, "adapter", "a", "", "The adapter of that file, if it is not JSON")
	f.DurationVar(&c.timeout, "timeout", c.timeout, "How long Caddy may take for an answer")
}

// Get asks for a resource and decodes the answer into v.
func (c *Client) Get(ctx context.Context, uri string, v any) error {
	return c.do(ctx, http.MethodGet, uri, nil, v)
}

// Post sends body, as JSON, and decodes the answer into v.
func (c *Client) Post(ctx context.Context, uri string, body, v any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	return c.do(ctx, http.MethodPost, uri, text, v)
}

// Print shows what the admin API says about uri, as it stands.
func (c *Client) Print(ctx context.Context, out io.Writer, uri string) error {
	var raw json.RawMessage
	if err := c.Get(ctx, uri, &raw); err != nil {
		return err
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(raw)
}

func (c *Client) do(ctx context.Context, method, uri string, body []byte, v any) error {
	if c.timeout <= 0 {
		return fmt.Errorf("--timeout %v: it must be above 0", c.timeout)
	}
	e, err := c.reach()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, e.base+uri, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking Caddy at %s: %w", e.address, err)
	}
	if e.origin {
		req.Header.Set("Origin", e.base)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := e.client.Do(req)
	if err != nil {
		return c.unanswered(e.address, err)
	}
	defer res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return c.refused(e.address, res)
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, res.Body, c.most)).Decode(v); err != nil {
		return c.unreadable(e.address, err)
	}
	return nil
}

// endpoint is an admin API that has been found.
type endpoint struct {
	address string // as it was given
	base    string // what stands before a URI
	origin  bool   // tell base as the origin, which the admin API may demand
	client  *http.Client
}

func (c *Client) find() (*endpoint, error) {
	address, err := caddycmd.DetermineAdminAPIAddress(c.address, nil, c.config, c.adapter)
	if err != nil {
		return nil, fmt.Errorf("finding the admin API: %w", err)
	}
	a, err := caddy.ParseNetworkAddress(address)
	if err == nil && a.PortRangeSize() > 1 {
		err = fmt.Errorf("it has %d ports", a.PortRangeSize())
	}
	if err != nil {
		return nil, fmt.Errorf("%q is no address of an admin API, such as localhost:2019 or unix//run/caddy/admin.sock: %w", address, err)
	}
	e := &endpoint{address: address, base: "http://" + a.JoinHostPort(0), origin: true}
	if a.IsUnixNetwork() {
		// A request has to name some host; the admin API knows no origins here. What stands
		// behind a bar are the permissions of the socket, for the Caddy that makes it.
		e.base, e.origin = "http://127.0.0.1", false
		a.Host, _, _ = strings.Cut(a.Host, "|")
	}
	dialer := new(net.Dialer)
	e.client = &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, a.Network, a.JoinHostPort(0))
			},
			// A Caddy that is told to stop waits for connections that are kept.
			DisableKeepAlives: true,
		},
		// The admin API sends nobody elsewhere: something else is at the address.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return e, nil
}
