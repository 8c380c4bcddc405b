package analytics

import (
	"context"
	"time"

	"github.com/prometheus/prometheus/storage"
)

// Source is what a module in the namespace analytics.sources is: something that samples
// are collected from.
type Source interface {
	// Name is unique among the sources of a configuration. It becomes the label "job".
	Name() string
	// Run collects every interval into to, and tells done of each collection, also of the
	// failed ones. It blocks until ctx ends, and collects a last time before it returns.
	// done is called from one goroutine at a time for each target; it must not block.
	Run(ctx context.Context, to storage.AppendableV2, interval time.Duration, done func(Collection)) error
}

// Collection is one collection from one target of a source.
type Collection struct {
	Source  string        // the source's name
	Target  string        // which of its targets: the label "instance"
	At      time.Time     // the time of its samples
	Took    time.Duration // how long it took
	Samples int           // how many samples it brought, without those the scrape itself adds
	Err     error         // why it failed, or nil
}
