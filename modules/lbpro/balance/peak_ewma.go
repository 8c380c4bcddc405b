package balance

// PeakEWMA draws two backends in proportion to weight and takes the one with the lower
//
//	load = latency · (1 + inflight/weight)
//
// where latency is [Backend.PeakLatency]: the balancer of Finagle and Linkerd ("Beyond
// Round Robin: Load Balancing for Latency", 2016), whose (inflight + 1) this is at
// weight 1. It reacts to a slow answer at once and forgets it with a time constant of
// 10 s; failures count as answers of 5 s; a backend without samples counts as the pool's
// mean, 30 ms when that is unknown. O(1).
type PeakEWMA struct{}

// Pick implements [Picker].
func (PeakEWMA) Pick(list []*Backend, c *Choice) int { return lesser(list, c, peakLoad) }

func peakLoad(b *Backend) float64 { return b.PeakLatency() * (1 + perWeight(b)) }
