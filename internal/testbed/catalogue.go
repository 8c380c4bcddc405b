package testbed

import "time"

// entry makes a scenario for a duration.
type entry struct {
	name, about string
	build       func(d time.Duration) Scenario
}

const (
	narrow = Exponential(10 * time.Millisecond)
	wide   = Exponential(20 * time.Millisecond)
)

// catalogue is the scenarios by name. Utilisations are of the capacity that is left
// while the fault lasts, unless said otherwise.
var catalogue = []entry{
	{"equal-60", "five equal backends, utilisation 0.6", func(d time.Duration) Scenario {
		return steady(d, .6, workers(4, 4, 4, 4, 4)...)
	}},
	{"equal-80", "five equal backends, utilisation 0.8", func(d time.Duration) Scenario {
		return steady(d, .8, workers(4, 4, 4, 4, 4)...)
	}},
	{"equal-90", "five equal backends, utilisation 0.9", func(d time.Duration) Scenario {
		return steady(d, .9, workers(4, 4, 4, 4, 4)...)
	}},
	{"capacities-60", "capacities 1:1:2:4:8 unknown to the balancer, utilisation 0.6", func(d time.Duration) Scenario {
		return steady(d, .6, workers(1, 1, 2, 4, 8)...)
	}},
	{"capacities-80", "capacities 1:1:2:4:8 unknown to the balancer, utilisation 0.8", func(d time.Duration) Scenario {
		return steady(d, .8, workers(1, 1, 2, 4, 8)...)
	}},
	{"slow-one", "one of five always 10 times slower, utilisation 0.6", func(d time.Duration) Scenario {
		return steady(d, .6, slower(workers(4, 4, 4, 4, 4), 10, 0)...)
	}},
	{"slow-one-90", "one of five always 10 times slower, 0.9 of what the healthy can do", func(d time.Duration) Scenario {
		s := steady(d, 1, slower(workers(4, 4, 4, 4, 4), 10, 0)...)
		s.Load.Rate = .9 * 16 / narrow.Mean().Seconds()
		return s
	}},
	{"slow-two", "two of four always 8 times slower, utilisation 0.6", func(d time.Duration) Scenario {
		return steady(d, .6, slower(workers(8, 8, 8, 8), 8, 0, 2)...)
	}},
	{"degrade-one", "one of five becomes 10 times slower and recovers", func(d time.Duration) Scenario {
		return single(d, Fault{Kind: Slow, Factor: 10})
	}},
	{"brownout", "a slowdown of 15 times that moves to another of five every 3 s", brownout},
	{"sixty", "60 backends of one worker, a third 4 times slower, service 20 ms, utilisation 0.6", sixty},
	{"errors", "one of five answers 500 in no time", func(d time.Duration) Scenario {
		return single(d, Fault{Kind: Error})
	}},
	{"hang", "one of five accepts requests and never answers", func(d time.Duration) Scenario {
		return single(d, Fault{Kind: Hang})
	}},
	{"refuse", "one of five refuses connections", func(d time.Duration) Scenario {
		return single(d, Fault{Kind: Refuse})
	}},
	{"reset", "one of five resets connections", func(d time.Duration) Scenario {
		return single(d, Fault{Kind: Reset})
	}},
	{"pauses", "each of five stops for 500 ms every 5 s, in turn", pauses},
	{"restart", "one of five crashes, is down for 1 s and comes back 10 times slower, warming up over 5 s", restart},
	{"outage", "all of five are down for 2 s", outage},
	{"burst", "arrivals triple for 2 s, every 6 s; utilisation 0.3 between", bursts},
	{"eight-balancers", "eight balancers over ten backends, two of them 5 times slower, utilisation 0.6", func(d time.Duration) Scenario {
		s := steady(d, .6, slower(workers(2, 2, 2, 2, 2, 2, 2, 2, 2, 2), 5, 3, 7)...)
		s.Balancers = 8
		return s
	}},
	{"mixed", "a fast endpoint, one 20 times slower and a long poll; five equal backends, utilisation 0.6", func(d time.Duration) Scenario {
		return mixed(d, .6, workers(4, 4, 4, 4, 4))
	}},
	{"mixed-slow-one", "the same endpoints, one of five backends always 10 times slower", func(d time.Duration) Scenario {
		return mixed(d, .6, slower(workers(4, 4, 4, 4, 4), 10, 4))
	}},
	{"lognormal", "heavy-tailed work; two of six always 3 times slower, utilisation 0.7", func(d time.Duration) Scenario {
		s := steady(d, .7, slower(workers(3, 3, 3, 3, 3, 3), 3, 1, 4)...)
		s.Load.Service = Lognormal{Average: 10 * time.Millisecond, Sigma: 1.2}
		return s
	}},
}

// workers makes backends of the given numbers of workers.
func workers(n ...int) []BackendConfig {
	b := make([]BackendConfig, len(n))
	for i := range n {
		b[i].Workers = n[i]
	}
	return b
}

// slower makes some of the backends slower for good.
func slower(b []BackendConfig, factor float64, which ...int) []BackendConfig {
	for _, i := range which {
		b[i].Speed = 1 / factor
	}
	return b
}

// steady is a load of work of 10 ms at a utilisation of the nominal capacity.
func steady(d time.Duration, utilisation float64, b ...BackendConfig) Scenario {
	s := Scenario{Backends: b, Balancers: 1, Load: Load{Duration: d, Service: narrow}}
	s.Load.Rate = utilisation * s.Capacity()
	return s
}

// single puts one fault on one of five from 0.1 to 0.6 of the run; the utilisation of
// the other four is 0.6.
func single(d time.Duration, f Fault) Scenario {
	s := steady(d, .6*4/5, workers(4, 4, 4, 4, 4)...)
	f.At, f.For = d/10, d/2
	s.Backends[2].Faults = []Fault{f}
	s.Load.Bucket = 100 * time.Millisecond
	return s
}

func brownout(d time.Duration) Scenario {
	s := steady(d, .6*4/5, workers(4, 4, 4, 4, 4)...)
	const period = 3 * time.Second
	for i := 0; time.Duration(i)*period < d; i++ {
		b := &s.Backends[i%5]
		b.Faults = append(b.Faults, Fault{Kind: Slow, At: time.Duration(i) * period, For: period, Factor: 15})
	}
	return s
}

func sixty(d time.Duration) Scenario {
	b := make([]BackendConfig, 60)
	for i := range b {
		b[i] = BackendConfig{Workers: 1, Speed: 1}
		if i%3 == 0 {
			b[i].Speed = 1. / 4
		}
	}
	s := Scenario{Backends: b, Balancers: 1, Load: Load{Duration: d, Service: wide}}
	s.Load.Rate = .6 * s.Capacity()
	return s
}

func pauses(d time.Duration) Scenario {
	s := steady(d, .6*4/5, workers(4, 4, 4, 4, 4)...)
	for at, i := time.Second/2, 0; at < d; at, i = at+time.Second, i+1 {
		b := &s.Backends[i%5]
		b.Faults = append(b.Faults, Fault{Kind: Pause, At: at, For: 500 * time.Millisecond})
	}
	return s
}

func restart(d time.Duration) Scenario {
	s := steady(d, .6*4/5, workers(4, 4, 4, 4, 4)...)
	s.Backends[2].Faults = []Fault{{Kind: Restart, At: d / 5, For: time.Second, Factor: 10, Ramp: 5 * time.Second}}
	s.Load.Bucket = 100 * time.Millisecond
	return s
}

func outage(d time.Duration) Scenario {
	s := steady(d, .6*4/5, workers(4, 4, 4, 4, 4)...)
	for i := range s.Backends {
		s.Backends[i].Faults = []Fault{{Kind: Refuse, At: d / 5, For: 2 * time.Second}}
	}
	s.Load.Bucket = 100 * time.Millisecond
	return s
}

func bursts(d time.Duration) Scenario {
	s := steady(d, .3, workers(4, 4, 4, 4, 4)...)
	for at := 2 * time.Second; at < d; at += 6 * time.Second {
		s.Load.Bursts = append(s.Load.Bursts, Burst{At: at, For: 2 * time.Second, Factor: 3})
	}
	s.Load.Bucket = 100 * time.Millisecond
	return s
}

func mixed(d time.Duration, utilisation float64, b []BackendConfig) Scenario {
	s := Scenario{Backends: b, Balancers: 1, Load: Load{Duration: d, Mix: []Endpoint{
		{Path: "/fast", Share: .94, Service: Exponential(5 * time.Millisecond)},
		{Path: "/report", Share: .05, Service: Exponential(100 * time.Millisecond)},
		{Path: "/poll", Share: .01, Hold: 2 * time.Second},
	}}}
	s.Load.Rate = utilisation * s.Capacity()
	return s
}
