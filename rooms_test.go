package lbpro

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const self = "github.com/caddy-lbpro/caddy-lbpro/"

// plain are the packages that know no Caddy and no glue: libraries with plain tests.
var plain = []string{
	"modules/lbpro/balance",
	"modules/flowmaster/conninfo", "modules/flowmaster/flow", "modules/flowmaster/decode",
	"modules/analytics/window", "modules/analytics/correlate", "modules/analytics/detect",
	"modules/analytics/forecast", "modules/analytics/explain", "modules/analytics/capacity",
}

// glue are the packages with Caddy modules. A build with any one of them works alone.
var glue = []string{"modules/lbpro", "modules/flowmaster", "modules/analytics"}

func list(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Fields(string(out))
}

// TestRooms holds who may import whom.
func TestRooms(t *testing.T) {
	all := list(t, "./...")
	for _, p := range plain {
		if !slices.Contains(all, self+p) {
			continue // not built yet
		}
		for _, dep := range list(t, "-deps", "./"+p) {
			if strings.HasPrefix(dep, "github.com/caddyserver/") || slices.Contains(glue, strings.TrimPrefix(dep, self)) {
				t.Errorf("%s imports %s: plain packages know no Caddy and no glue", p, dep)
			}
		}
	}
	found := 0
	for _, p := range glue {
		if !slices.Contains(all, self+p) {
			continue
		}
		found++
		for _, dep := range list(t, "-deps", "./"+p) {
			if d := strings.TrimPrefix(dep, self); d != p && slices.Contains(glue, d) {
				t.Errorf("%s imports %s: glue packages never import one another", p, d)
			}
		}
	}
	if found == 0 {
		t.Fatal("no glue package was found: has the module moved?")
	}
	if deps := list(t, "-deps", "./internal/testbed"); slices.ContainsFunc(deps, func(d string) bool { return strings.HasPrefix(d, "github.com/caddyserver/") }) {
		t.Error("internal/testbed imports Caddy")
	}
}
