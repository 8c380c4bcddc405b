package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// proxy is a kind of proxy that can be put over a pool of backends.
type proxy struct {
	name    string
	ours    bool
	program string // key of the binary it runs: caddy, stock, nginx or haproxy
	// config returns the text of the configuration file and the arguments that make
	// the program read it.
	config func(c site) (text, file string, args []string)
}

// site is what a configuration has to say.
type site struct {
	dir      string // of the process' own, for its files
	listen   string // host:port
	backends []string
}

// proxies returns those that names ask for: of the table below, or lbpro/POLICY.
func proxies(names []string) ([]proxy, error) {
	var out []proxy
	for _, name := range names {
		p, ok := lookup(name)
		if !ok {
			return nil, fmt.Errorf("no proxy %q; there are: %s, and lbpro/POLICY", name, strings.Join(proxyNames(), ", "))
		}
		out = append(out, p)
	}
	return out, nil
}

func lookup(name string) (proxy, bool) {
	if policy, ok := strings.CutPrefix(name, "lbpro/"); ok && policy != "" && !strings.ContainsAny(policy, " \t\r\n{}\"`") {
		return ours(name, "lb_policy "+policy), true
	}
	for _, p := range known {
		if p.name == name {
			return p, true
		}
	}
	return proxy{}, false
}

func proxyNames() []string {
	var names []string
	for _, p := range known {
		names = append(names, p.name)
	}
	return names
}

// tuned is what a careful operator adds to stock reverse_proxy for backends that fail.
var tuned = []string{
	"lb_policy least_conn", "lb_retries 2", "lb_try_duration 5s",
	"fail_duration 10s", "max_fails 3", "unhealthy_status 5xx",
}

var known = []proxy{
	ours("lbpro"),
	stock("caddy-random", "lb_policy random"),
	stock("caddy-round-robin", "lb_policy round_robin"),
	stock("caddy-least-conn", "lb_policy least_conn"),
	stock("caddy-tuned", tuned...),
	{name: "nginx-round-robin", program: "nginx", config: nginx("")},
	{name: "nginx-least-conn", program: "nginx", config: nginx("least_conn;")},
	{name: "haproxy-leastconn", program: "haproxy", config: haproxy},
}

func ours(name string, options ...string) proxy {
	return proxy{name: name, ours: true, program: "caddy", config: caddyfile("lbpro", options)}
}

func stock(name string, options ...string) proxy {
	return proxy{name: name, program: "stock", config: caddyfile("reverse_proxy", options)}
}

// caddyfile is the same site for lbpro and reverse_proxy but for the word.
func caddyfile(directive string, options []string) func(site) (string, string, []string) {
	return func(c site) (string, string, []string) {
		var b strings.Builder
		b.WriteString("{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n\tlog {\n\t\toutput discard\n\t}\n}\n\n")
		fmt.Fprintf(&b, "http://%s {\n\t%s %s", c.listen, directive, strings.Join(c.backends, " "))
		if len(options) > 0 {
			fmt.Fprintf(&b, " {\n\t\t%s\n\t}", strings.Join(options, "\n\t\t"))
		}
		b.WriteString("\n}\n")
		file := filepath.Join(c.dir, "Caddyfile")
		return b.String(), file, []string{"run", "--config", file, "--adapter", "caddyfile"}
	}
}

// nginx keeps connections to the backends open, which it does not by default, and
// leaves proxy_next_upstream and the failure marks of servers at theirs.
func nginx(method string) func(site) (string, string, []string) {
	return func(c site) (string, string, []string) {
		var b strings.Builder
		if privileged() { // its workers would not be let into the directory otherwise
			b.WriteString("user root;\n")
		}
		fmt.Fprintf(&b, `daemon off;
worker_processes 2;
pid %[1]s/nginx.pid;
error_log stderr emerg;
events {
	worker_connections 8192;
}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	upstream pool {
		zone pool 1m;
		%[2]s
`, c.dir, method)
		for _, s := range c.backends {
			fmt.Fprintf(&b, "\t\tserver %s;\n", s)
		}
		fmt.Fprintf(&b, `		keepalive 256;
	}
	server {
		listen %s;
		location / {
			proxy_pass http://pool;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
		}
	}
}
`, c.listen)
		file := filepath.Join(c.dir, "nginx.conf")
		return b.String(), file, []string{"-p", c.dir, "-c", file, "-e", "stderr"}
	}
}

// haproxy has the timeouts that it warns about without; all else is its default.
func haproxy(c site) (string, string, []string) {
	var b strings.Builder
	fmt.Fprintf(&b, `global
	nbthread 2
	maxconn 8192
defaults
	mode http
	timeout connect 5s
	timeout client 60s
	timeout server 60s
frontend site
	bind %s
	default_backend pool
backend pool
	balance leastconn
	http-reuse always
`, c.listen)
	for i, s := range c.backends {
		fmt.Fprintf(&b, "\tserver b%d %s\n", i, s)
	}
	file := filepath.Join(c.dir, "haproxy.cfg")
	return b.String(), file, []string{"-db", "-q", "-f", file}
}

// installed finds a program, also where daemons are kept.
func installed(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if p, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return p, nil
		}
	}
	return "", err
}
