package decode

// Counters are what happened to one exporter's datagrams since it was first
// seen. All only grow.
type Counters struct {
	Datagrams   uint64 `json:"datagrams"`
	Octets      uint64 `json:"octets"`
	RateLimited uint64 `json:"rate_limited"`
	Errors      uint64 `json:"errors"`

	Records        uint64 `json:"records"`
	OptionRecords  uint64 `json:"option_records"`
	CounterSamples uint64 `json:"counter_samples"`

	Templates        uint64 `json:"templates"`
	TemplatesRefused uint64 `json:"templates_refused"`
	Withdrawals      uint64 `json:"withdrawals"`
	SamplersRefused  uint64 `json:"samplers_refused"`

	// UnknownSets counts data sets whose template was not known, and
	// UnknownOctets what was in them.
	UnknownSets   uint64 `json:"unknown_sets"`
	UnknownOctets uint64 `json:"unknown_octets"`

	// Lost is what the gaps in the sequence numbers add up to: flows for
	// NetFlow v5 and IPFIX, datagrams for NetFlow v9 and sFlow. Gaps is how
	// many gaps there were, Late how many datagrams came behind later ones
	// (those are in Lost too), Restarts how often the numbers began anew.
	Lost     uint64 `json:"lost"`
	Gaps     uint64 `json:"gaps"`
	Late     uint64 `json:"late"`
	Restarts uint64 `json:"restarts"`
	// AgentDrops is what sFlow agents say they dropped themselves, in samples.
	AgentDrops uint64 `json:"agent_drops"`

	// CountMismatches is how many NetFlow v9 headers announced another number
	// of records than there were, and TrailingOctets what stood behind the
	// end of a NetFlow v5 or IPFIX message.
	CountMismatches uint64 `json:"count_mismatches"`
	TrailingOctets  uint64 `json:"trailing_octets"`
}

// Add adds o to c.
func (c *Counters) Add(o *Counters) {
	c.Datagrams += o.Datagrams
	c.Octets += o.Octets
	c.RateLimited += o.RateLimited
	c.Errors += o.Errors
	c.Records += o.Records
	c.OptionRecords += o.OptionRecords
	c.CounterSamples += o.CounterSamples
	c.Templates += o.Templates
	c.TemplatesRefused += o.TemplatesRefused
	c.Withdrawals += o.Withdrawals
	c.SamplersRefused += o.SamplersRefused
	c.UnknownSets += o.UnknownSets
	c.UnknownOctets += o.UnknownOctets
	c.Lost += o.Lost
	c.Gaps += o.Gaps
	c.Late += o.Late
	c.Restarts += o.Restarts
	c.AgentDrops += o.AgentDrops
	c.CountMismatches += o.CountMismatches
	c.TrailingOctets += o.TrailingOctets
}
