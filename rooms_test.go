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
	"modules/flowmaster/conninfo", "modules/flowmaster/flow", "modules/flowmaster/decode", "modules/flowmaster/geo",
	"modules/analytics/window", "modules/analytics/correlate", "modules/analytics/detect",
	"modules/analytics/forecast", "modules/analytics/explain", "modules/analytics/capacity",
}

// withCaddy are the packages below internal that know Caddy; every other one is plain. None
// knows the glue, which shares them.
var withCaddy = []string{"internal/adminclient", "internal/argument"}

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
	caddy := func(dep string) bool { return strings.HasPrefix(dep, "github.com/caddyserver/") }
	isGlue := func(dep string) bool { return slices.Contains(glue, strings.TrimPrefix(dep, self)) }
	found := make(map[string]int)
	for _, full := range all {
		p := strings.TrimPrefix(full, self)
		var kind string
		switch {
		case slices.Contains(glue, p):
			kind = "glue"
		case slices.Contains(plain, p):
			kind = "plain"
		case slices.Contains(withCaddy, p):
			kind = "internal, with Caddy"
		case strings.HasPrefix(p, "internal/"):
			kind = "internal"
		case strings.HasPrefix(p, "modules/"):
			kind = "part of a module"
		default:
			continue
		}
		found[kind]++
		for _, dep := range list(t, "-deps", "./"+p) {
			if dep != full && isGlue(dep) {
				t.Errorf("%s imports %s: the glue is imported by programs only", p, dep)
			}
			if caddy(dep) && (kind == "plain" || kind == "internal") {
				t.Errorf("%s imports %s: it is plain, and knows no Caddy", p, dep)
			}
		}
	}
	for kind, n := range map[string]int{"glue": 1, "plain": 1, "internal": 1, "internal, with Caddy": len(withCaddy)} {
		if found[kind] < n {
			t.Errorf("%d packages of the kind %q were found, there are at least %d: has the module moved?", found[kind], kind, n)
		}
	}
}
