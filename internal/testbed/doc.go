// Package testbed puts a load balancer under a known load, before backends that
// misbehave on a schedule, and measures what clients see. It imports no Caddy.
//
// # Parts
//
// A [Backend] is a real HTTP server on loopback: a number of workers behind one FIFO
// queue, a service-time distribution, and [Fault]s over time. Waiting is done by
// timers, so sixty backends cost little more than their HTTP.
//
// A [Load] sends requests at the moments of a Poisson process drawn beforehand from
// a seed. It is open-loop: a request is sent at its moment whatever became of those
// before it, and its latency counts from that moment, so nothing is omitted when the
// system under test stalls (Tene, "How NOT to Measure Latency"). A [Saturation] is
// the opposite, a closed loop of busy connections, for throughput.
//
// A [Scenario] names backends, faults and a load. [Simulate] runs one in virtual time
// under any [SimPolicy], and [Clairvoyant] gives what an all-knowing dispatcher
// reaches with the same arrivals and the same work. The command in compare puts real
// proxies through a scenario and prints them side by side.
//
// # Common work
//
// The load draws each request's service demand and sends it along in [DemandHeader];
// the backend that takes the request does that much work. Two proxies compared on one
// seed so face not only the same arrivals but the same work, and a request tried on
// two backends is the same request twice.
//
// # In a test
//
//	cluster, err := testbed.StartCluster(
//		testbed.BackendConfig{Name: "a", Workers: 4},
//		testbed.BackendConfig{Name: "b", Workers: 4, Faults: []testbed.Fault{
//			{Kind: testbed.Slow, At: time.Second, For: 2 * time.Second, Factor: 10},
//		}},
//	)
//	if err != nil { ... }
//	defer cluster.Close()
//	// start the proxy over cluster.Addrs(), listening on proxyURL
//	load := testbed.Load{Rate: 500, Duration: 4 * time.Second, Service: testbed.Exponential(10 * time.Millisecond)}
//	epoch := time.Now()
//	cluster.Begin(epoch) // faults and time series count from here
//	load.Epoch = epoch
//	result, err := load.Run(ctx, proxyURL)
//	result.Success(), result.Quantile(0.99), cluster.Backend("b").Stats()
//
// Faults can also be put on and taken off by hand with [Backend.Inject] and
// [Backend.Heal].
package testbed
