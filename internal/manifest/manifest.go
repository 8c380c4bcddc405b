// Package manifest reads xcaddy.json, which says what a build of Caddy with this project
// consists of, and makes xcaddy's arguments of it. xcaddy itself has no such file.
package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
)

var (
	version    = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)
	importPath = regexp.MustCompile(`^[0-9A-Za-z_~-][0-9A-Za-z._~-]*(/[0-9A-Za-z_~-][0-9A-Za-z._~-]*)*$`)
)

// Manifest is what xcaddy.json says.
type Manifest struct {
	// CaddyVersion is the version of Caddy to build, as a Go module version.
	CaddyVersion string `json:"caddy_version"`
	// Module is the Go module that the packages are in, and Version its version.
	Module  string `json:"module"`
	Version string `json:"version"`
	// Packages are the packages with Caddy modules, relative to Module.
	Packages []string `json:"packages"`
}

// Parse reads a manifest and refuses one that cannot be built.
func Parse(text []byte) (Manifest, error) {
	var m Manifest
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return m, fmt.Errorf("xcaddy.json: %w", err)
	}
	if !version.MatchString(m.CaddyVersion) {
		return m, fmt.Errorf("xcaddy.json: caddy_version is %q: it must be a version such as v2.11.9", m.CaddyVersion)
	}
	if !version.MatchString(m.Version) {
		return m, fmt.Errorf("xcaddy.json: version is %q: it must be a version such as v0.1.0", m.Version)
	}
	if len(m.Packages) == 0 {
		return m, errors.New("xcaddy.json: there are no packages")
	}
	for _, p := range append(m.Imports(), m.Module) {
		if !importPath.MatchString(p) {
			return m, fmt.Errorf("xcaddy.json: %q is no import path", p)
		}
	}
	return m, nil
}

// Imports returns the import paths of the packages.
func (m Manifest) Imports() []string {
	paths := make([]string, len(m.Packages))
	for i, p := range m.Packages {
		paths[i] = path.Join(m.Module, p)
	}
	return paths
}

// Flags returns the arguments that follow `xcaddy build`. With local, the directory of a
// checkout, that stands in for the published module: then the module's root package,
// which imports them all, is named, with a version, because Go looks up what is not
// published otherwise, even where it is replaced.
func (m Manifest) Flags(local string) ([]string, error) {
	flags := []string{m.CaddyVersion}
	if local != "" {
		dir, err := filepath.Abs(local)
		if err != nil {
			return nil, fmt.Errorf("finding %s: %w", local, err)
		}
		return append(flags, "--with", m.Module+"@v0.0.0="+dir), nil
	}
	for _, p := range m.Imports() {
		flags = append(flags, "--with", p+"@"+m.Version)
	}
	return flags, nil
}

// Line joins arguments for a POSIX shell.
func Line(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		if strings.ContainsFunc(a, func(r rune) bool { return !strings.ContainsRune(plain, r) }) {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		quoted[i] = a
	}
	return strings.Join(quoted, " ")
}

const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=@:+"

var built atomic.Pointer[[]byte]

// Register keeps the manifest that is built into this program.
func Register(text []byte) { built.Store(&text) }

// ErrNone is returned by Built when the program was built from a part of the project that
// does not carry the manifest.
var ErrNone = errors.New("this program has no manifest built in: name the file xcaddy.json with --manifest")

// Built returns the manifest that is built into this program.
func Built() (Manifest, error) {
	text := built.Load()
	if text == nil {
		return Manifest{}, ErrNone
	}
	return Parse(*text)
}
