// Package balance is the balancing itself, without Caddy: which backend answers a
// request soonest, which one has stopped answering, and what may be tried again.
//
// # Shape
//
// A [Pool] holds [Backend]s. A request reserves a backend with [Backend.Begin], which
// puts an [Attempt] in flight there; [Attempt.FirstByte] and [Attempt.End] tell what
// became of it. These calls touch only counters and a short list of the one backend
// (a few cache lines, nothing shared by the pool), and leave a sample behind.
//
// [Pool.Tick] runs every few milliseconds on one goroutine. It drains the samples,
// estimates speed, parallelism, silence and failure of every backend, moves backends
// between states, and publishes the result as plain atomics. A [Picker] reads only
// those, so that choosing neither allocates nor waits.
//
// Time is a [time.Duration] since an origin of the caller's choice, always passed in:
// the same code runs under the wall clock and in simulation.
//
// # Lock order
//
// Pool.mu, then Backend.mu, then shard.mu. The request path takes shard.mu only.
package balance
