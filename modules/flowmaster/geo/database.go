package geo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/modules/flowmaster/flow"
)

// DefaultMaxSize is the size of the largest file that is read, in bytes.
const DefaultMaxSize = 512 << 20

// MaxMaxSize is what that can be raised to.
const MaxMaxSize = 4<<30 - 1

// Database is one file. Lookups are safe while it is refreshed.
type Database struct {
	path    string
	maxSize int64
	current atomic.Pointer[table]

	refreshing sync.Mutex // held while the file is read, which may take seconds; before mu
	seen       fileID     // what was read or refused last; guarded by refreshing

	mu       sync.Mutex // guards what follows, which a status must not wait for
	loaded   time.Time
	failed   error
	failedAt time.Time
	failures uint64
}

// fileID tells versions of a file apart without reading them.
type fileID struct{ info os.FileInfo }

func (id fileID) same(other os.FileInfo) bool {
	return id.info != nil && os.SameFile(id.info, other) && id.info.Size() == other.Size() && id.info.ModTime().Equal(other.ModTime())
}

// Open reads a database. A maxSize of 0 is the default.
func Open(ctx context.Context, path string, maxSize int64) (*Database, error) {
	if maxSize <= 0 {
		maxSize = DefaultMaxSize
	}
	d := &Database{path: path, maxSize: min(maxSize, MaxMaxSize)}
	if _, err := d.Refresh(ctx, time.Now()); err != nil {
		return nil, err
	}
	return d, nil
}

// Refresh reads the file again if it is another than before, and reports whether it did.
// When that fails, what was read before stays in force; the error is returned once for
// each version of the file, and by Err and Status until there is a good one.
func (d *Database) Refresh(ctx context.Context, now time.Time) (changed bool, err error) {
	d.refreshing.Lock()
	defer d.refreshing.Unlock()
	info, err := os.Stat(d.path)
	if err == nil && d.seen.same(info) {
		return false, nil
	}
	var t *table
	if err == nil {
		t, info, err = d.read(ctx)
	}
	if err != nil && ctx.Err() != nil {
		return false, ctx.Err() // given up, not refused
	}
	stillAway := info == nil && d.seen.info == nil && d.Err() != nil
	d.seen = fileID{info}
	if stillAway {
		return false, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.failures++
		d.failed, d.failedAt = err, now.UTC()
		return false, err
	}
	d.current.Store(t)
	d.loaded, d.failed, d.failedAt = now, nil, time.Time{}
	return true, nil
}

// Err returns why the file as it is now is not in force, or nil.
func (d *Database) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

func (d *Database) read(ctx context.Context) (*table, os.FileInfo, error) {
	f, err := os.Open(d.path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, info, errors.New("it is no file")
	case info.Size() == 0:
		return nil, info, errors.New("the file is empty")
	case info.Size() > d.maxSize:
		return nil, info, fmt.Errorf("it has %d bytes, more than the %d that max_size allows", info.Size(), d.maxSize)
	}
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, info, fmt.Errorf("reading it: %w", err)
	}
	t, err := newTable(ctx, b)
	return t, info, err
}

// Lookup returns what the database knows of a. It allocates nothing.
func (d *Database) Lookup(a flow.Addr) Info { return d.current.Load().lookup(a) }

// Status is the state of a database.
type Status struct {
	File string `json:"file"`
	Type string `json:"type"`
	// Built is when the publisher made what is in force, Loaded when it was read.
	Built  time.Time `json:"built"`
	Loaded time.Time `json:"loaded"`
	// Networks is how many the database tells apart; in so many it knows the country,
	// and the AS.
	Networks            int `json:"networks"`
	NetworksWithCountry int `json:"networks_with_country"`
	NetworksWithAS      int `json:"networks_with_as"`
	Organizations       int `json:"organizations"`
	// Ranges is what is left of the networks when neighbours with the same country and AS
	// are one.
	Ranges      int   `json:"ranges"`
	MemoryBytes int64 `json:"memory_bytes"`
	// Failures counts versions of the file that could not be used; Error says why the one
	// that is there now is not in force.
	Failures uint64    `json:"failures"`
	Error    string    `json:"error,omitempty"`
	FailedAt time.Time `json:"failed_at,omitzero"`
}

// Status returns the state of the database.
func (d *Database) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.current.Load()
	s := Status{
		File: d.path, Type: t.about.kind, Built: t.about.built, Loaded: d.loaded.UTC(), Networks: t.about.networks,
		NetworksWithCountry: t.about.networksCountries, NetworksWithAS: t.about.networksAS, Organizations: len(t.names),
		Ranges: t.ranges(), MemoryBytes: t.memoryBytes(), Failures: d.failures, FailedAt: d.failedAt,
	}
	if d.failed != nil {
		s.Error = d.failed.Error()
	}
	return s
}
