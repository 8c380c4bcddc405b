package decode

import "time"

// Limits bounds what a Store remembers. Zero fields take the defaults.
type Limits struct {
	// Exporters is how many devices are remembered. Default 256.
	Exporters int
	// Domains is how many observation domains (NetFlow source IDs and
	// engines, sFlow sub-agents) each exporter may have. Default 256.
	Domains int
	// Templates is how many templates each exporter may have. Default 1,024.
	Templates int
	// Fields is how many fields a template may have. Default 128.
	Fields int
	// TemplateBytes is what all templates together may take, in bytes.
	// Default 32 MiB.
	TemplateBytes int64
	// Samplers is how many sampler IDs are remembered for each exporter and
	// for each domain. Default 256.
	Samplers int
	// DatagramsPerSecond is what each exporter may send. Default 0: no bound.
	DatagramsPerSecond int
	// TTL is how long an exporter, a domain or a template is remembered that
	// is neither sent again nor used. Default 30 minutes; negative: for ever.
	TTL time.Duration
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&l.Exporters, 256)
	set(&l.Domains, 256)
	set(&l.Templates, 1024)
	set(&l.Fields, 128)
	set(&l.Samplers, 256)
	if l.TemplateBytes <= 0 {
		l.TemplateBytes = 32 << 20
	}
	if l.TTL == 0 {
		l.TTL = 30 * time.Minute
	}
	return l
}

// expired reports whether something last used at a time (milliseconds since
// the Unix epoch) is past its time to live.
func (l *Limits) expired(used, now int64) bool {
	return l.TTL > 0 && now-used > l.TTL.Milliseconds()
}

// maxRecords bounds the records of one datagram. At 4 octets a record, the
// smallest that could tell anyone anything, no datagram holds more.
const maxRecords = 1 << 14
