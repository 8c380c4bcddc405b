package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// standIn is the variable that makes the test binary a proxy: a process to launch,
// measure and stop that is always there. It understands a Caddyfile of one site and
// one directive.
const standIn = "COMPARE_TEST_PROXY"

func TestMain(m *testing.M) {
	switch os.Getenv(standIn) {
	case "proxy":
		os.Exit(serve(os.Args))
	case "exit":
		fmt.Fprintln(os.Stderr, "no such option")
		os.Exit(3)
	}
	goleak.VerifyTestMain(m)
}

func serve(args []string) int {
	text, err := os.ReadFile(args[slices.Index(args, "--config")+1])
	if err != nil {
		return 1
	}
	_, site, _ := strings.Cut(string(text), "http://")
	addr, directive, _ := strings.Cut(site, " {\n")
	backends := strings.Fields(strings.SplitN(directive, "\n", 2)[0])[1:]
	proxy := &httputil.ReverseProxy{
		Transport: &http.Transport{MaxIdleConnsPerHost: 64},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: backends[rand.IntN(len(backends))]})
		},
	}
	if err := http.ListenAndServe(addr, proxy); err != nil {
		return 1
	}
	return 0
}

// self is the test binary as a proxy, and its path.
func self(t *testing.T, as string) (proxy, string) {
	t.Helper()
	t.Setenv(standIn, as)
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return stock("stand-in"), path
}
