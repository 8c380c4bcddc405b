// Command compare puts real proxies through the testbed's scenarios, one after the
// other on the same arrivals and the same work, and prints what clients saw beside the
// clairvoyant bound.
//
//	go run ./internal/testbed/compare -list
//	go run ./internal/testbed/compare -scenario slow-one,errors -proxies lbpro,caddy-least-conn -scale 0.5
//	go run ./internal/testbed/compare -repeat 3 -json results.json
//	go run ./internal/testbed/compare -throughput
//
// It builds two Caddy binaries, the repository's and stock, unless -caddy and -stock
// name ready ones; nginx and HAProxy take part when they are installed. Every proxy is
// a process of its own on a free port of loopback, with a configuration made for the
// run, logs off, two threads where that can be set, and is stopped at the end. It needs
// no privileges and leaves nothing behind.
//
// # Reading the table
//
// Quantiles are over all requests, and one that failed counts as having lasted for the
// client's patience: "fail" stands for a quantile that falls on those, so that failing
// fast gains nothing. bound is the quantile of the clairvoyant dispatcher on the same
// requests, and x the ratio to it. CPU is user and system time of the proxy's
// processes in the measured part. stop is the time from a fault's onset until the
// backend's arrival rate stays below a fifth of its fair one, return the time from its
// end until the rate over 200 ms is at least half of it; the median over the scenario's
// faults each, "never" if it did not come, "-" when no fault allows it to be measured.
// recover is the time from the last fault's end to the moment from which on at least
// 99 % of requests are OK. tries is requests received by backends for each sent.
//
// lag is the 99.9th percentile of how late the load's own requests were sent. When it
// is not small beside the latencies, the machine was too busy for the figures to count:
// such a trial is done again, a few times at most, and marked "!" if it stays so. See
// -max-lag.
//
// # Throughput
//
// With -throughput one client saturates lbpro and stock reverse_proxy, each with its
// defaults, in turn. The throughput ratio above 1 and the CPU ratio below 1 are in
// favour of lbpro. Client, backends and proxy share the machine, so the throughput
// ratio is damped by what the first two cost; the CPU ratio is of the proxies alone, and
// suffers less from other programs.
package main
