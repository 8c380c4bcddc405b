package analytics

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	commoncfg "github.com/prometheus/common/config"
)

// HTTPClient says how to reach another server and who we are to it. All values may have
// placeholders such as `{env.TOKEN}` and `{file./run/secrets/token}`, so that no secret has
// to stand in the configuration.
type HTTPClient struct {
	// User and password of HTTP basic authentication.
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	// Token of bearer authentication.
	BearerToken string `json:"bearer_token,omitempty"`
	// Further headers of each request.
	Headers map[string]string `json:"headers,omitempty"`
	// Options of TLS.
	TLS *ClientTLS `json:"tls,omitempty"`
	// Whether redirects are followed. Default: false, as they lead where the other
	// server likes.
	FollowRedirects bool `json:"follow_redirects,omitempty"`
}

// ClientTLS are options of TLS towards another server. The files are read anew when they
// change.
type ClientTLS struct {
	// File with the certificates of the authorities to trust. Default: those of the system.
	CA string `json:"ca,omitempty"`
	// Files with our own certificate and its key.
	Certificate string `json:"certificate,omitempty"`
	Key         string `json:"key,omitempty"`
	// The name that the server's certificate must have. Default: the host of the address.
	ServerName string `json:"server_name,omitempty"`
	// Takes any certificate, and so anyone for the server. Default: false.
	InsecureSkipVerify bool `json:"insecure_skip_verify,omitempty"`
}

// config fills in placeholders and makes Prometheus' own configuration of a client.
func (h *HTTPClient) config() (commoncfg.HTTPClientConfig, error) {
	c := commoncfg.DefaultHTTPClientConfig
	c.FollowRedirects = h.FollowRedirects
	repl := caddy.NewReplacer()
	var errs []error
	fill := func(name, value string) string {
		v, err := repl.ReplaceOrErr(value, true, true)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		return v
	}
	if h.Username != "" || h.Password != "" {
		c.BasicAuth = &commoncfg.BasicAuth{
			Username: fill("username", h.Username),
			Password: commoncfg.Secret(fill("password", h.Password)),
		}
	}
	if h.BearerToken != "" {
		if c.BasicAuth != nil {
			errs = append(errs, errors.New("basic_auth and bearer_token exclude each other: leave out one"))
		}
		c.Authorization = &commoncfg.Authorization{
			Type:        "Bearer",
			Credentials: commoncfg.Secret(strings.TrimSpace(fill("bearer_token", h.BearerToken))),
		}
	}
	if len(h.Headers) > 0 {
		c.HTTPHeaders = &commoncfg.Headers{Headers: make(map[string]commoncfg.Header, len(h.Headers))}
		for name, value := range h.Headers {
			// As a secret it is never shown.
			c.HTTPHeaders.Headers[name] = commoncfg.Header{Secrets: []commoncfg.Secret{commoncfg.Secret(fill("header "+name, value))}}
		}
	}
	if t := h.TLS; t != nil {
		c.TLSConfig = commoncfg.TLSConfig{
			CAFile:             fill("tls ca", t.CA),
			CertFile:           fill("tls certificate", t.Certificate),
			KeyFile:            fill("tls key", t.Key),
			ServerName:         fill("tls server_name", t.ServerName),
			InsecureSkipVerify: t.InsecureSkipVerify,
		}
	}
	errs = append(errs, c.Validate())
	if c.HTTPHeaders != nil {
		errs = append(errs, c.HTTPHeaders.Validate())
	}
	return c, errors.Join(errs...)
}

// httpClientOptions names what parse takes, for messages.
const httpClientOptions = "basic_auth, bearer_token, header, tls and follow_redirects"

// parse takes one subdirective if it is about the client:
//
//	basic_auth   <username> <password>
//	bearer_token <token>
//	header       <name> <value>
//	follow_redirects
//	tls {
//	    ca          <file>
//	    certificate <file> <key_file>
//	    server_name <name>
//	    insecure_skip_verify
//	}
func (h *HTTPClient) parse(d *caddyfile.Dispenser, nesting int) (ours bool, err error) {
	switch d.Val() {
	case "basic_auth":
		if !d.AllArgs(&h.Username, &h.Password) {
			return true, d.ArgErr()
		}
	case "bearer_token":
		if !d.AllArgs(&h.BearerToken) {
			return true, d.ArgErr()
		}
	case "header":
		var name, value string
		if !d.AllArgs(&name, &value) {
			return true, d.ArgErr()
		}
		if h.Headers == nil {
			h.Headers = make(map[string]string)
		}
		h.Headers[name] = value
	case "follow_redirects":
		if d.NextArg() {
			return true, d.ArgErr()
		}
		h.FollowRedirects = true
	case "tls":
		if d.NextArg() {
			return true, d.ArgErr()
		}
		h.TLS = new(ClientTLS)
		for d.NextBlock(nesting) {
			if err := h.TLS.parse(d); err != nil {
				return true, err
			}
		}
	default:
		return false, nil
	}
	return true, nil
}

func (t *ClientTLS) parse(d *caddyfile.Dispenser) error {
	var ok bool
	switch name := d.Val(); name {
	case "ca":
		ok = d.AllArgs(&t.CA)
	case "certificate":
		ok = d.AllArgs(&t.Certificate, &t.Key)
	case "server_name":
		ok = d.AllArgs(&t.ServerName)
	case "insecure_skip_verify":
		ok = !d.NextArg()
		t.InsecureSkipVerify = true
	default:
		return d.Errf("unrecognized subdirective %q; tls takes ca, certificate, server_name and insecure_skip_verify", name)
	}
	if !ok {
		return d.ArgErr()
	}
	return nil
}
