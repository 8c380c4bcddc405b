package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// binaries finds or builds the programs that the proxies need, by their key. A program
// that is not installed is left out and noted.
func binaries(ctx context.Context, list []proxy, dir, caddy, stock string) (map[string]string, error) {
	found := map[string]string{"caddy": caddy, "stock": stock}
	packages := map[string]string{"caddy": "./cmd/caddy", "stock": "github.com/caddyserver/caddy/v2/cmd/caddy"}
	for _, p := range list {
		if found[p.program] != "" {
			continue
		}
		pkg, built := packages[p.program]
		if !built {
			if path, err := installed(p.program); err == nil {
				found[p.program] = path
			}
			continue
		}
		path := filepath.Join(dir, p.program)
		if err := build(ctx, pkg, path); err != nil {
			return nil, err
		}
		found[p.program] = path
	}
	return found, nil
}

// build builds a package of this module, or of one it depends on.
func build(ctx context.Context, pkg, path string) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the module's root: %w; run this inside the repository", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, pkg)
	cmd.Dir = strings.TrimSpace(string(root))
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s: %w; name a ready binary with -caddy or -stock", pkg, err)
	}
	return nil
}
