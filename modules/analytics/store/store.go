// Package store keeps the samples that the Analytics Engine collects, and answers PromQL
// about them. There are three stores, alike from outside: memory, an embedded Prometheus
// TSDB, and any remote Prometheus-compatible cluster.
package store

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// Store keeps samples. It is safe for concurrent use.
type Store interface {
	// AppendableV2 takes samples in, as Prometheus' scrape manager appends them. (The
	// first Appendable is about to leave Prometheus.) A sample that a limit turns away is
	// counted in Status.Dropped and is no error, so that the rest of a scrape is kept.
	storage.AppendableV2
	Querier

	// Status tells the state of the store. It is cheap, and works after Close.
	Status() Status
	// Flush makes what was appended so far survive the end of the process.
	Flush(ctx context.Context) error
	// Close flushes and ends the store. A second call does nothing.
	Close() error
}

// Querier answers PromQL. Every method ends with ctx.
type Querier interface {
	// Instant evaluates expr at one time. Scalars come as a vector of one element
	// without labels.
	Instant(ctx context.Context, expr string, at time.Time) (promql.Vector, annotations.Annotations, error)
	// Ranges evaluates an expression that gives ranges, such as up[5m], at one time.
	Ranges(ctx context.Context, expr string, at time.Time) (promql.Matrix, annotations.Annotations, error)
	// Range evaluates expr at from, from+step, … up to and including to.
	Range(ctx context.Context, expr string, from, to time.Time, step time.Duration) (promql.Matrix, annotations.Annotations, error)
	// LabelNames, LabelValues and Series say what is there. An empty list of matchers
	// takes everything; limit 0 is no limit.
	LabelNames(ctx context.Context, from, to time.Time, limit int, matchers ...[]*labels.Matcher) ([]string, annotations.Annotations, error)
	LabelValues(ctx context.Context, name string, from, to time.Time, limit int, matchers ...[]*labels.Matcher) ([]string, annotations.Annotations, error)
	Series(ctx context.Context, from, to time.Time, limit int, matchers ...[]*labels.Matcher) ([]labels.Labels, annotations.Annotations, error)
}

// Status is the state of a store.
type Status struct {
	Kind string `json:"kind"` // memory, tsdb, prometheus
	// OK says that samples can be written; Problem what is wrong and the way out.
	OK      bool   `json:"ok"`
	Problem string `json:"problem,omitempty"`
	// Notes tell of what was repaired or set aside when the store was opened.
	Notes []string `json:"notes,omitempty"`

	Series  int    `json:"series"`
	Samples uint64 `json:"samples"`           // appended since the start
	Dropped uint64 `json:"dropped"`           // turned away by a limit or an error
	Pending int    `json:"pending,omitempty"` // waiting for a remote store
	// Bytes on disk, or in memory for the memory store.
	Bytes int64 `json:"bytes"`
	// Oldest and Newest are the times of the first and the last sample; zero if none.
	Oldest time.Time `json:"oldest,omitzero"`
	Newest time.Time `json:"newest,omitzero"`
	// Where the data is: a directory or a URL without secrets.
	Location string `json:"location,omitempty"`
}

var (
	// ErrClosed is returned by a store after Close.
	ErrClosed = errors.New("store is closed")
	// ErrLimit is wrapped by errors about a query that is too large.
	ErrLimit = errors.New("query is beyond a limit")
	// ErrBadQuery is wrapped by errors about a query that is wrong in itself.
	ErrBadQuery = errors.New("bad query")
)
