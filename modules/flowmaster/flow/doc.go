// Package flow holds what a network flow is and what is remembered of many:
// a fixed-size record, a bounded table of active flows, totals in aligned
// windows of time, and the heaviest keys of each window.
//
// Records come from two places: connections this process carries itself
// (exact), and NetFlow, IPFIX or sFlow datagrams of other devices (package
// decode), which may be sampled. Fields bear the names of the IANA "IPFIX
// Information Elements" registry, counts are as reported, and the sampling
// interval stands beside them, so raw and scaled figures can both be shown.
//
// The package knows nothing of Caddy, opens no sockets and starts no
// goroutines. A Monitor is safe for concurrent use: each worker owns a Shard,
// and whoever owns the clock calls Monitor.Tick once a second.
package flow
