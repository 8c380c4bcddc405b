package testbed

import (
	"fmt"
	"strings"
	"time"
)

// Scenario is a load before backends that behave in a known way.
type Scenario struct {
	Name  string
	About string
	// Backends are named b0, b1 and so on.
	Backends []BackendConfig
	Load     Load
	// Balancers is the number of proxies over which the load is spread in turn.
	Balancers int
}

// ScenarioOptions vary a scenario of the catalogue.
type ScenarioOptions struct {
	// Scale multiplies the duration, and with it the times of faults that come once;
	// 1 when zero. At 1 a scenario has 16,000 to 36,000 requests, enough for a 99.9th
	// percentile.
	Scale float64
	// Seed of arrivals and work.
	Seed uint64
}

// baseDuration is that of a scenario at scale 1.
const baseDuration = 20 * time.Second

// NewScenario returns the scenario of that name from the catalogue.
func NewScenario(name string, o ScenarioOptions) (Scenario, error) {
	if o.Scale == 0 {
		o.Scale = 1
	}
	if !(o.Scale > 0) || o.Scale > 1000 {
		return Scenario{}, fmt.Errorf("scenario %s: scale is %g, must be above 0 and at most 1000", name, o.Scale)
	}
	for _, e := range catalogue {
		if e.name == name {
			s := e.build(time.Duration(o.Scale * float64(baseDuration)))
			s.Name, s.About = e.name, e.about
			s.Load.Seed = o.Seed
			for i := range s.Backends {
				s.Backends[i].Name = fmt.Sprintf("b%d", i)
				s.Backends[i].Seed = o.Seed + uint64(i)
			}
			return s, nil
		}
	}
	return Scenario{}, fmt.Errorf("no scenario %q; there are: %s", name, strings.Join(ScenarioNames(), ", "))
}

// ScenarioNames lists the catalogue in its order.
func ScenarioNames() []string {
	names := make([]string, len(catalogue))
	for i, e := range catalogue {
		names[i] = e.name
	}
	return names
}

// Capacity returns the requests a second that the backends can serve without faults,
// nominally: Speed counts, Faults do not.
func (s Scenario) Capacity() float64 {
	var workers float64
	for _, b := range s.Backends {
		workers += power(b)
	}
	return workers / s.Load.MeanDemand().Seconds()
}

// Utilisation returns Rate over Capacity.
func (s Scenario) Utilisation() float64 { return s.Load.Rate / s.Capacity() }

// FairShare returns backend i's part of the capacity.
func (s Scenario) FairShare(i int) float64 {
	var total float64
	for _, b := range s.Backends {
		total += power(b)
	}
	return power(s.Backends[i]) / total
}

// power is a backend's capacity in workers of full speed.
func power(b BackendConfig) float64 {
	c, err := b.withDefaults()
	if err != nil {
		return 0
	}
	return float64(c.Workers) * c.Speed
}

// MeanDemand returns the mean work of a request over the mix; 0 when the load sends
// none along.
func (l Load) MeanDemand() time.Duration {
	mean := func(d Distribution) float64 {
		if d == nil {
			return 0
		}
		return float64(d.Mean())
	}
	if len(l.Mix) == 0 {
		return time.Duration(mean(l.Service))
	}
	var sum, total float64
	for _, e := range l.Mix {
		d := e.Service
		if d == nil {
			d = l.Service
		}
		sum += e.Share * mean(d)
		total += e.Share
	}
	return time.Duration(sum / total)
}
